"""Ctrl-C: where `adstilts` begins, and how long work is asked to end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = "interrupted"
"""What is said after Ctrl-C where there is nothing to say of how to go on."""


def main() -> None:
    """Runs the command line; see `adapter_stilts.cli.main`."""
    try:
        from adapter_stilts.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write(f"adstilts: {INTERRUPTED}\n")
        sys.exit(130)
    finally:
        # Of another one while Python ends, threads would print where they were.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Inside the block, the first Ctrl-C or SIGTERM makes what is given true; a second interrupts.

    Outside the main thread it stays false: Python lets only that set handlers.
    """
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        if len(caught) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {each: signal.signal(each, catch) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
