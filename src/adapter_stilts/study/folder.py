"""The folder of a study: what is done, what runs, what failed. State is in files alone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from filelock import BaseFileLock, FileLock, Timeout
from pydantic import Field, ValidationError

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.paths import write_whole
from adapter_stilts.safety import Count, Line, Shape, check_shape, printable
from adapter_stilts.study.graph import Plan, Planned, Run, RunResult

RESULTS = "results.jsonl"
"""The records of its runs, one a line."""
PLAN = "plan.json"
"""Which runs the last `study run` has planned."""
SELECT = "select.items.parquet"
"""The items of the half of English dev by which arms are chosen."""


@dataclass(frozen=True)
class StudyFolder:
    """`results.jsonl`, `plan.json`, and folders: `runs` (what each is), `modules`, `items`, `logs`,
    `state`."""

    path: Path

    @property
    def results_file(self) -> Path:
        """Where the results of its runs are written, one a line."""
        return self.path / RESULTS

    @property
    def stop_file(self) -> Path:
        """Where it lies, `study run` ends."""
        return self.path / "state" / "stop"

    def results(self, plan: Plan | None = None) -> Results:
        """The finished runs; with a plan, of its runs those whose record can be theirs."""
        found = read_results(self.results_file)
        if plan is not None:
            for name in plan.runs.keys() & found.runs.keys():
                if why := Planned.of(plan.runs[name], plan).differs(found.runs[name]):
                    found.wrong[name] = why
            kept = plan.runs.keys() - found.wrong.keys()
            found.runs = {name: each for name, each in found.runs.items() if name in kept}
        return found

    def write_plan(self, plan: Plan) -> None:
        """Writes down which runs the study has, so that a report knows what is missing."""
        runs = {name: Planned.of(run, plan)._asdict() for name, run in plan.runs.items()}
        about = {"study": plan.study.name, "runs": runs}
        text = json.dumps(about, ensure_ascii=False, allow_nan=False)
        write_whole(self.path / PLAN, text.replace("}, ", "},\n ") + "\n")

    def planned(self) -> dict[str, Planned]:
        """The runs that the study has by its last plan; none where that is not there.

        A plan that cannot be read is refused.
        """
        path = self.path / PLAN
        if not path.exists() and not path.is_symlink():
            return {}
        return _read(path, _PlanFile, "`adstilts study run` writes it again").runs

    def write_run(self, run: Run, study: str) -> None:
        """Writes down what a run is, for the process that does it."""
        text = json.dumps(
            {"study": study, "run": vars(run)}, ensure_ascii=False, allow_nan=False, indent=1
        )
        write_whole(self.path / "runs" / f"{run.id}.json", text)

    def read_run(self, name: str) -> tuple[str, Run]:
        """The name of the study, and the run; refuses one that is not there, or not what it was."""
        path = self.path / "runs" / f"{name}.json"
        remedy = "`adstilts study run` or `study export` writes it again"
        found = _read(path, _RunFile, remedy)
        if found.run.id != name or not {"backbone", "data"} <= found.run.place.keys():
            raise UserError(f"{path}: damaged (it is another run): {remedy}")
        return found.study, found.run

    def module(self, name: str) -> Path:
        """Where the module of a run lies."""
        return (self.path / "modules" / name / "module").absolute()

    def dev(self, name: str) -> Path:
        """What a run found on English dev."""
        return self.path / "dev" / name

    def log(self, name: str) -> Path:
        """What a run printed."""
        return self.path / "logs" / f"{name}.txt"

    def failure(self, name: str) -> Path:
        """The log of a run that was set aside."""
        return self.path / "failed" / f"{name}.txt"

    def failed(self) -> dict[str, Path]:
        """The runs that were set aside."""
        logs = sorted((self.path / "failed").glob("*.txt"))
        return {path.stem: path for path in logs if path.is_file()}

    @contextmanager
    def working(self, name: str, *, patience: float = 0) -> Iterator[None]:
        """Inside the block no other process does this run, and `running` says who does.

        A run that another process does is refused; with `patience`, seconds to wait for a process
        that ends, such as one of a lost machine, it fails after these.
        """
        with self._only_one(f"run-{name}", f"run {name}", patience):
            # A process that was killed has left its own.
            self._steps_file(name).unlink(missing_ok=True)
            try:
                yield
            finally:
                self._steps_file(name).unlink(missing_ok=True)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Inside the block no other `study run` works on the folder; refused where one does."""
        with self._only_one("holder", f"study {self.path}"):
            yield

    @contextmanager
    def _only_one(self, name: str, what: str, patience: float = 0) -> Iterator[None]:
        place = self.path / "state" / f"{name}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        if (lock := _lock(place, patience)) is None:
            about = {"pid": "?", "host": "?", "since": "?", **_about(place, _Holder)}
            kind = FailureError if patience else UserError
            raise kind(
                f"{what} is held by process {about['pid']} on {about['host']}, since "
                f"{about['since']}: wait for it, or end it by `adstilts study stop`"
            )
        try:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
            write_whole(place, json.dumps(holder, allow_nan=False))
            yield
        finally:
            with suppress(OSError):
                place.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> dict[str, Any]:
        """Who works on the folder; empty where nobody does."""
        return self._alive("holder")

    def running(self) -> dict[str, dict[str, Any]]:
        """The runs that are being done, by whom, and their steps where they train."""
        names = [path.stem for path in (self.path / "state").glob("run-*.json")]
        found = {name.removeprefix("run-"): self._alive(name) for name in sorted(names)}
        return {
            name: about | _about(self._steps_file(name), _Steps)
            for name, about in found.items()
            if about
        }

    def write_steps(self, name: str, step: int, steps: int, per_second: float) -> None:
        """Notes how far the training of a run is."""
        fields = {"step": step, "steps": steps, "per_second": per_second}
        write_whole(self._steps_file(name), json.dumps(fields, allow_nan=False))

    def _steps_file(self, name: str) -> Path:
        return self.path / "state" / f"steps-{name}.json"

    def _alive(self, name: str) -> dict[str, Any]:
        place = self.path / "state" / f"{name}.json"
        if not place.exists():
            return {}
        if (lock := _lock(place)) is not None:
            lock.release()
            return {}
        # Somebody does, also where what it wrote of itself is damaged.
        return {"pid": "?", "host": "?", **_about(place, _Holder)}


def last_line(log: Path) -> str:
    """What a log says at its end; empty where it says nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return printable(lines[-1][:500]) if lines else ""


def size_of(folder: Path) -> int:
    """The bytes of all its files."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


class _PlanFile(Shape):
    """`plan.json`."""

    runs: dict[Line, Planned]


class _RunFile(Shape):
    """What a run is, for the process that does it."""

    study: Line
    run: Run


class _Holder(Shape):
    """Who holds a lock."""

    pid: int
    host: Line
    since: Line


class _Steps(Shape):
    """How far a training is."""

    step: Count
    steps: Count
    per_second: Annotated[float, Field(ge=0)]


S = TypeVar("S", bound=Shape)


def _read(path: Path, kind: type[S], remedy: str) -> S:
    """A file of the folder; refuses one that cannot be read, or is damaged."""
    try:
        return check_shape(kind, json.loads(path.read_text(encoding="utf-8")), "it")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): {remedy}") from error
    except (ValueError, RecursionError, UserError) as error:
        why = str(error).removeprefix("it: ").removeprefix("'': ")
        raise UserError(f"{path}: damaged ({why}): {remedy}") from error


def _about(place: Path, kind: type[Shape]) -> dict[str, Any]:
    """What a process says of itself; nothing where that is damaged, since it soon says it anew."""
    with suppress(UserError):
        return _read(place, kind, "").model_dump()
    return {}


def _lock(place: Path, patience: float = 0) -> BaseFileLock | None:
    """The lock beside a file, which is set; None where another process has it."""
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return None
    except OSError as error:
        why = f"no lock can be set ({error.strerror})"
        raise UserError(f"{error.filename}: {why}: remove it, or choose another --out") from error
    return lock


@dataclass
class Results:
    """What a file of results holds.

    `damaged` are lines that are no whole records, by number and with what is wrong; `wrong` are
    records that cannot be of their run, by run. Their runs count as not done.
    """

    runs: dict[str, RunResult] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def read_results(path: Path) -> Results:
    """The records of a file, the last one of every run; none where there is no file.

    What is there and cannot be read is refused.
    """
    found = Results()
    for number, line in _lines(path):
        try:
            record = RunResult.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            found.damaged[number] = f"{place}: {first['msg']}" if place else str(first["msg"])
        else:
            found.runs[record.run] = record
    return found


def append_result(path: Path, record: RunResult) -> None:
    """Adds a record as one line; of several processes, one after the other.

    Where an earlier line was cut off, the new one begins on a line of its own. It fails where the
    disk is full or the folder cannot be written.
    """
    line = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")), path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            broken = False
            if size:
                file.seek(size - 1)
                broken = file.read(1) != b"\n"
            file.write(b"\n" * broken + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FailureError(
            f"cannot write {path} ({error.strerror or error}): free some space; what is written "
            "is kept"
        ) from error


def drop_results(path: Path, runs: set[str]) -> None:
    """Takes the records of runs out of a file; lines that are no records stay."""
    if not runs:
        return
    kept = []
    try:
        with FileLock(path.with_name(f".{path.name}.lock")):
            for _, line in _lines(path):
                try:
                    name = RunResult.model_validate_json(line).run
                except ValidationError:
                    name = ""
                if name not in runs:
                    kept.append(line.decode("utf-8", "replace") + "\n")
            write_whole(path, "".join(kept))
    except OSError as error:
        raise FailureError(f"cannot write {path} ({error.strerror or error})") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if path.exists() or path.is_symlink():  # a link may lead nowhere
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: the records cannot be read ({error.strerror})") from error
        for number, line in enumerate(content.split(b"\n"), 1):
            if line.strip():
                yield number, line
