"""Functions called in processes of their own, which may be killed, without importing for each."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

HERE = str(Path(__file__).parent)


def begin(function: Callable[..., object], *args: object) -> ForkServerProcess:
    """Calls it in a new process with this one's environment and folder.

    The processes are forked from one that has the libraries imported and has done nothing with
    them (`preloaded.py`), so they are no copies of this one, its threads, locks and caches.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preloaded"])
    paths = os.pathsep.join([HERE, *filter(None, [os.environ.get("PYTHONPATH")])])
    with mock.patch.dict(os.environ, PYTHONPATH=paths):
        forkserver.ensure_running()
    process = context.Process(target=_call, args=(dict(os.environ), function, args))
    process.start()
    return process


def end(process: ForkServerProcess, seconds: float = 280) -> int:
    """Waits for the process, and kills it where that takes too long; the exit code."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def in_a_process(function: Callable[..., object], *args: object) -> int:
    """Calls it in a new process and waits; the exit code."""
    return end(begin(function, *args))


def _call(environment: Mapping[str, str], function: Callable[..., object], args: Any) -> None:
    assert "preloaded" in sys.modules  # or every process imports everything anew
    os.environ.clear()
    os.environ.update(environment)
    function(*args)
