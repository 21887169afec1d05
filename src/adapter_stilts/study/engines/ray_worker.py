"""What is done on a worker of a Ray cluster.

Its functions travel to the worker as they are: they import this package only after they have seen
that it is the same one there.
"""

from __future__ import annotations

import platform
import signal
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SAME = ("adapter-stilts", "python", "torch")
"""What decides scores, and is the same on all machines of a study."""


def versions() -> dict[str, str]:
    """Those of `SAME` on this machine; of Python and torch the first two numbers."""
    try:
        from adapter_stilts import __version__ as own
    except ImportError:
        own = "none"
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    found = (own, _main(platform.python_version()), _main(torch))
    return dict(zip(SAME, found, strict=True))


def _main(number: str) -> str:
    return ".".join(number.split(".")[:2])


def refusal(expected: dict[str, str], study: str, directory: str, run: str) -> str:
    """Why this machine cannot do a run of the study; empty where it can."""
    here, host = versions(), socket.gethostname()
    for name, number in expected.items():
        if here[name] != number:
            return (
                f"worker {host} has {name} {here[name]}, and this machine has {number}: install "
                "the same version on every machine of the cluster"
            )
    for path in (Path(directory), Path(study, "runs", f"{run}.json")):
        if not path.exists():
            return (
                f"worker {host} does not see {path}: the study's folder, its data and the folder "
                "that you start it from must be shared by all machines, at the same path"
            )
    return ""


def do_run_on_worker(
    expected: dict[str, str], place: dict[str, Any], run: str, environment: dict[str, str]
) -> tuple[int, str]:
    """The exit code of a run, and why it was refused, if it was."""
    if why := refusal(expected, place["study"], place["directory"], run):
        return 2, why
    from adapter_stilts.study.engines.engine import Place
    from adapter_stilts.study.engines.process import do_run
    from adapter_stilts.study.folder import StudyFolder

    asked: list[int] = []
    # Ray cancels a task by this signal, which it raises in the worker.
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        folder = StudyFolder(Path(place["study"]))
        return do_run(folder, run, Place(**place), environment, lambda: len(asked)), ""
    finally:
        signal.signal(signal.SIGINT, before)
