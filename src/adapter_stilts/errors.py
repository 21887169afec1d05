"""What a user sees when something goes wrong: one line, naming the place and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class UserError(Exception):
    """A mistake the user can mend. The command line prints the message and exits with code 2.

    `detail` is printed below the line as it stands (a text with a caret under the place).
    """

    exit_code = 2
    detail: str = ""


class RefusedError(UserError):
    """A file of somebody's that is damaged, or that asks for what is never done."""


class FailureError(Exception):
    """Something the user did not cause, such as a full disk. Printed likewise; exit code 1."""

    exit_code = 1


class NotFiniteError(FailureError):
    """A network gave values that are no finite numbers, so there is no answer and no score.

    `module` is what the one that gave them is called in the engine, where several ran together.
    """

    def __init__(self, message: str, *, module: str = "") -> None:
        super().__init__(message)
        self.module = module


class InterruptedTrainingError(Exception):
    """Ctrl-C: the work so far is saved; the message says how to go on."""

    exit_code = 130


def suggest(given: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """The known names closest to what was given, best first; empty when none is near."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(given.lower(), list(lowered), n=limit, cutoff=0.6)
    return [lowered[name] for name in near]


def hint(given: str, known: Iterable[str], otherwise: str = "", *, limit: int = 1) -> str:
    """What may have been meant, best first, or what else is to be said."""
    near = suggest(given, known, limit=limit)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise


def unknown(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name outside a closed set.

    >>> str(unknown("task", "sqad", ["squad", "mnli"]))
    "no task 'sqad': did you mean 'squad'?"
    """
    names = sorted(known)
    choices = f"choose from {', '.join(names)}"
    return UserError(f"no {what} '{given}': {hint(given, names, choices, limit=3)}")


def shown(value: Any, limit: int = 60) -> str:
    """The value as Python writes it, on one line and cut to about `limit` characters."""
    if isinstance(value, str) and len(value) > limit:
        return repr(f"{value[:limit]}…")
    written = repr(value)
    return written if len(written) <= limit else f"{written[: limit - 1]}…"


def counted(count: int, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "run"), counted(2, "run")
    ('1 run', '2 runs')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"


def few(names: Sequence[str], limit: int = 20) -> str:
    """Names with commas between; of many the first ones, and how many there are."""
    written = ", ".join(names[:limit])
    return written if len(names) <= limit else f"{written}, … ({len(names):,})"


Place = int | str
"""A line number, or words: "question '5733…'". Empty for a file as a whole."""


def located(where: Path | str, place: Place) -> str:
    """The file (or Hub data set) and the place in it, as an error message begins."""
    if place == "":
        return str(where)
    return f"{where}, line {place}" if isinstance(place, int) else f"{where}, {place}"


def bad(where: Path | str, place: Place, what: str) -> UserError:
    """The error for something wrong at that place: always one line."""
    return UserError(f"{located(where, place)}: {' '.join(what.split())}")
