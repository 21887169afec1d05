"""Where a run's files lie while it lasts, and whether it may lie there at all."""

from __future__ import annotations

import re
from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_replaceable
from adapter_stilts.zoo.record import RECORD


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
    """Refuses to replace what was not meant to be replaced.

    Raises:
        UserError: a module, an unfinished run or something else lies there, or nothing can be
            written there.
    """
    check_replaceable(folder)
    if overwrite or resume:
        return
    if (folder / RECORD).exists():
        raise occupied(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another --out")
    work = unfinished(folder)
    if latest_checkpoint(work):
        raise UserError(
            f"an unfinished run lies at {work}: add --resume to continue it, or --overwrite to "
            "begin anew"
        )


def occupied(folder: Path, of: str = "") -> UserError:
    """The error where another module lies."""
    return UserError(f"a module lies at {folder} already{of}: choose --out or add --overwrite")
