"""Does the runs that standard input names, each in a fork: `python -m ... FOLDER`.

To import all that a training needs takes longer than a short training on a GPU: it is done once,
before the forks.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.work import finish


def main() -> None:
    """Of each run it says the number of its process when it begins, and its exit code at its end.

    A line of standard input has the `run`, its `log`, and its `environment`.
    """
    # The signal is for the runs alone; one that comes before a run can handle it waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # Slurm sends these to every process of a job. Only the job's own knows what they mean: it
    # asks the run for a checkpoint, and this process ends when its input does.
    for each in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    folder = StudyFolder(Path(sys.argv[1]))
    _prepare()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        run = os.fork()
        if run == 0:
            os._exit(_run(folder, asked))
        _say(run)
        _, status = os.waitpid(run, 0)
        _say(os.waitstatus_to_exitcode(status))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _prepare() -> None:
    """Imports what trainings and evaluations need, and does not look for a GPU.

    A process that has looked for one cannot be forked. To look for garbage meanwhile takes a sixth
    of the time; and what is left out of later looks stays one memory with that of all forks.
    """
    gc.disable()
    import adapter_stilts.evaluation.run
    import adapter_stilts.study.results
    import adapter_stilts.training.execute
    import adapter_stilts.training.fuse
    import adapter_stilts.training.multitask
    import adapter_stilts.training.target  # noqa: F401

    gc.freeze()
    gc.enable()


def _run(folder: StudyFolder, asked: dict[str, Any]) -> int:
    with Path(asked["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(asked["environment"])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a training writes a checkpoint when it comes
    threading.Thread(target=_end_with_engine, daemon=True).start()
    code = finish(folder, asked["run"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _end_with_engine() -> None:
    """Ends this process when the engine is gone, however that ended."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


if __name__ == "__main__":
    main()
