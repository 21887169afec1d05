"""Where a run's files lie while it lasts, and what may be replaced."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_replaceable
from adapter_stilts.zoo.choice import NOTE
from adapter_stilts.zoo.record import RECORD, ModuleRecord

if TYPE_CHECKING:  # commands that only look whether a folder is free do without torch
    from adapter_stilts.training.job import Job
    from adapter_stilts.training.spec import Request


class OtherRunError(UserError):
    """What lies where a run is to go on is another run's, or damaged."""


Settings = Mapping[str, Any]
"""What was chosen for a training, by the names of options."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Inside the block no other process trains a module for that folder: a second one is refused.

    The lock ends with the process, however that ends.
    """
    from adapter_stilts.training.callbacks import this_process

    if not this_process().is_main_process:
        yield
        return
    place = folder.with_name(f".{folder.name}.lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process is training the module of {folder}: wait for it, or choose "
            "another --out"
        ) from None
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        lock.release()


def finished_record(asked: Request, job: Job, settings: Settings) -> ModuleRecord | None:
    """The record of the module there, if a run to resume has ended; refuses another run's."""
    folder, options = asked.folder, asked.options
    lies_there = (folder / RECORD).exists() and not latest_checkpoint(asked.work)
    if not options.resume or options.overwrite or not lies_there:
        return None
    try:
        record = ModuleRecord.read(folder)
        if record.run == job.run:
            record.verify(folder)
    except UserError as error:
        raise OtherRunError(str(error)) from error
    if record.run != job.run:
        other = differences(record.recipe, settings)
        raise other_run_error(folder, f", of other settings ({other})" if other else "")
    sweep(folder)
    return record


def claim(asked: Request, job: Job, settings: Settings) -> None:
    """Makes the folder of the unfinished run; refuses one of another run."""
    from adapter_stilts.training.callbacks import this_process

    state, work = this_process(), asked.work
    if state.is_main_process:
        if asked.options.overwrite and not asked.options.resume:
            discard(work)
        if latest_checkpoint(work):
            _check_same(work, job, settings)
        else:
            work.mkdir(parents=True, exist_ok=True)
            fields = {"run": job.run, "task": job.spec.name, "backbone": job.engine.identity}
            note = json.dumps({**fields, "settings": settings}, indent=1, allow_nan=False)
            (work / NOTE).write_text(note, encoding="utf-8")
    state.wait_for_everyone()


def _check_same(work: Path, job: Job, settings: Settings) -> None:
    try:
        note = json.loads((work / NOTE).read_text(encoding="utf-8"))
        began, others = note["run"], dict(note.get("settings", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OtherRunError(
            f"{work / NOTE} is damaged or missing: add --overwrite to begin anew"
        ) from error
    if began != job.run:
        other = differences(others, settings) or "its data, or what it stands on, has changed"
        raise OtherRunError(
            f"the unfinished run at {work} has other settings ({other}): give the same ones, or "
            "--overwrite to begin anew"
        )


def differences(before: Settings, now: Settings) -> str:
    """The settings that differ, with both values; what only one side has is passed over."""
    return ", ".join(
        f"{name.replace('_', '-')} was {_write(before[name])}, now {_write(value)}"
        for name, value in now.items()
        if name in before and before[name] != value
    )


def _write(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def discard(work: Path) -> None:
    """Removes a run's folder; killed half-way, it leaves nothing that looks like a run."""
    gone = work.with_name(f".{work.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if work.exists():
        work.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes what killed processes left beside a module while they wrote or replaced it."""
    name = re.escape(folder.name)
    left_over = re.compile(rf"\.{name}\.((old\.)?[a-z0-9_]{{8}}|unfinished\.gone)")
    for path in folder.parent.glob(".*"):
        if left_over.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def unfinished(folder: Path) -> Path:
    """The folder of the checkpoints of a run whose module will lie at `folder`."""
    return folder.with_name(f"{folder.name}.unfinished")


def latest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step number in a run's folder."""
    found = [
        (int(match.group(1)), path)
        for path in (folder.glob("checkpoint-*") if folder.is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    ]
    return max(found)[1] if found else None


def check_free(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuses to replace a module, an unfinished run or else, or where none can be written."""
    check_replaceable(folder)
    if overwrite or resume:
        return
    if (folder / RECORD).exists():
        raise other_run_error(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another --out")
    work = unfinished(folder)
    if latest_checkpoint(work):
        raise UserError(
            f"an unfinished run lies at {work}: add --resume to continue it, or --overwrite to "
            "begin anew"
        )


def other_run_error(folder: Path, of: str = "") -> OtherRunError:
    """The error where another module lies."""
    return OtherRunError(f"a module lies at {folder} already{of}: choose --out or add --overwrite")
