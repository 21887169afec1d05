"""What tests of the running service share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapter_stilts.serving.limits import ServiceOptions
from adapter_stilts.serving.pool import ModulePool
from adapter_stilts.serving.run import bound, server


@contextmanager
def running(pool: ModulePool, **limits: Any) -> Iterator[int]:
    """A service on a free port, with its own thread."""
    ready = threading.Event()
    with bound("127.0.0.1", 0) as listening:
        service = server(pool, ServiceOptions(**limits, gather=0, grace=1), ready.set)
        thread = threading.Thread(target=service.run, args=([listening],))
        thread.start()
        assert ready.wait(20)
        try:
            yield listening.getsockname()[1]
        finally:
            service.should_exit = True
            thread.join()
