"""One run as a job of Slurm, as `submitit` starts it: before its time is over, it goes on anew."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_stilts.paths import write_whole
from adapter_stilts.study.engines.engine import Place
from adapter_stilts.study.engines.process import do_run
from adapter_stilts.study.engines.ray_worker import refusal
from adapter_stilts.study.folder import StudyFolder

POLL = 0.2


@dataclass
class SlurmJob:
    """Does a run and writes how it ended beside it; `submitit` calls it, and `checkpoint`."""

    place: Place
    run: str
    expected: dict[str, str]
    environment: dict[str, str]
    _stops: int = field(default=0, init=False)
    _code: int | None = field(default=None, init=False)

    def __call__(self) -> None:
        """Does the run, in a thread: signals are handled in the main one, between its steps."""
        why = refusal(self.expected, self.place.study, self.place.directory, self.run)
        if why:
            self._say({"code": 2, "refused": why})
            return
        thread = threading.Thread(target=self._do, daemon=True)
        thread.start()
        while self._code is None and thread.is_alive():
            time.sleep(POLL)
        self._say({"code": 1 if self._code is None else self._code, "refused": ""})

    def checkpoint(self) -> Any:
        """Called before the time is over, or for another's job: saves, and asks to go on anew."""
        from submitit.helpers import DelayedSubmission

        self._stops += 1
        while self._code is None:
            time.sleep(POLL)
        return DelayedSubmission(SlurmJob(self.place, self.run, self.expected, self.environment))

    def _do(self) -> None:
        folder = StudyFolder(Path(self.place.study))
        self._code = do_run(
            folder,
            self.run,
            self.place,
            self.environment,
            lambda: self._stops + folder.stop_file.exists(),
        )

    def _say(self, said: dict[str, Any]) -> None:
        write_whole(ended_file(Path(self.place.study), self.run), json.dumps(said, allow_nan=False))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_stops": 0, "_code": None}


def ended_file(study: Path, run: str) -> Path:
    """Where a job writes how its run ended."""
    return study / "state" / f"ended-{run}.json"
