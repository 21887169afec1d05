"""Engines of studies for tests: one that does runs in this process, one that does nothing."""

from __future__ import annotations

from concurrent.futures import Future

from adapter_stilts.study import work
from adapter_stilts.study.folder import StudyFolder


class Here:
    """Does runs in this process."""

    capacity = 1

    def __init__(self, folder: StudyFolder, codes: dict[str, list[int]] | None = None) -> None:
        self.folder, self.codes = folder, codes or {}
        self.begun: list[str] = []

    def submit(self, run: str) -> Future[int]:
        self.begun.append(run)
        made: Future[int] = Future()
        if left := self.codes.get(run):
            made.set_result(left.pop(0))
        else:
            work.work(self.folder, run)
            made.set_result(0)
        return made

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class Nothing(Here):
    """Says that it did what it did not do."""

    def submit(self, run: str) -> Future[int]:
        self.begun.append(run)
        made: Future[int] = Future()
        made.set_result(self.codes.get(run, [0])[0])
        return made
