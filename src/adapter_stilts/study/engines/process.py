"""One run in a process of its own, which every engine starts and watches in the same way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from adapter_stilts.study.engines.engine import INTERRUPTED, LIFELINE, Place
from adapter_stilts.study.folder import StudyFolder

POLL = 0.2


def do_run(
    folder: StudyFolder,
    run: str,
    place: Place,
    environment: Mapping[str, str],
    stops: Callable[[], int],
) -> int:
    """Does a run; its exit code.

    The process ends when this one does, however that ends.

    Args:
        folder: of the study.
        run: by its id.
        place: where it finds what its study names.
        environment: variables that the process has besides this one's.
        stops: how often the run was asked to end. The first time it writes a checkpoint before;
            the second time it ends at once.
    """
    if stops():
        return INTERRUPTED
    log = folder.log(run)
    log.parent.mkdir(parents=True, exist_ok=True)
    # `-P`: a file such as random.py where the user stands is not imported instead of the library.
    command = [sys.executable, "-P", "-m", "adapter_stilts.study.work", place.study, run]
    with log.open("ab") as printed:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        printed.write(f"begun on {socket.gethostname()} at {now}\n".encode())
        printed.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=place.directory,
            env={**os.environ, **environment, LIFELINE: "1"},
            # Ctrl-C in the terminal reaches the study's process, which tells its own.
            start_new_session=True,
        )
    try:
        return _watch(process, stops)
    finally:
        if process.stdin:
            process.stdin.close()


def _watch(process: subprocess.Popen[bytes], stops: Callable[[], int]) -> int:
    told = 0
    while True:
        try:
            return process.wait(POLL)
        except subprocess.TimeoutExpired:
            if told < stops():
                process.send_signal(signal.SIGINT)
                told += 1
