"""Functions called in processes of their own, which may be killed, without importing for each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from typing import Any


def in_a_process(function: Callable[..., object], *args: object) -> int:
    """Calls it in a new process with this one's environment and folder; the exit code.

    The processes are forked from one that has the libraries imported and has done nothing with
    them, so they are no copies of this one, its threads, locks and caches.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["adapter_stilts.evaluation.run"])
    process = context.Process(target=_call, args=(dict(os.environ), function, args))
    process.start()
    process.join(280)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _call(environment: Mapping[str, str], function: Callable[..., object], args: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    function(*args)
