"""What plug-ins have added, and where each thing stands; nothing heavy is imported."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from adapter_stilts.errors import UserError, hint, unknown

Kind = Literal["task", "metric", "merge method", "adapter method"]
PLUG_IN = "a plug-in's is known after --include FILE, ADSTILTS_PLUGINS or ads.include(FILE)"
_CELL = re.compile("ipykernel|ipython-input|marimo")
"""In the names of the files that notebooks make of their cells."""
Thing = TypeVar("Thing")
_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


@dataclass(frozen=True)
class Registered:
    """A thing that a plug-in has added.

    `place` is the file and line where it did; `by` is the plug-in: the whole path of its file, or
    the name of its package. It is empty of what other code has added.
    """

    name: str
    value: Any
    place: str
    by: str = ""


_ADDED: dict[Kind, dict[str, Registered]] = {kind: {} for kind in get_args(Kind)}
_RUNNING: list[str] = []


@contextmanager
def running(plug_in: str) -> Iterator[None]:
    """Says which plug-in adds what is added inside the block."""
    _RUNNING.append(plug_in)
    try:
        yield
    finally:
        _RUNNING.pop()


def additions(kind: Kind) -> Mapping[str, Registered]:
    """All of one kind, by name."""
    return MappingProxyType(_ADDED[kind])


class Known(Mapping[str, Thing]):
    """All things of one kind by name: the package's, then those of plug-ins."""

    def __init__(self, kind: Kind, own: Callable[[], Mapping[str, Thing]]) -> None:
        """`own` gives the package's when they are asked for, which may import their files."""
        self._kind, self._own = kind, own

    def __getitem__(self, name: str) -> Thing:
        found = _ADDED[self._kind].get(name)
        return found.value if found else self._own()[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._own(), *_ADDED[self._kind]))

    def __len__(self) -> int:
        return len(self._own()) + len(_ADDED[self._kind])

    def find(self, what: str, name: str) -> Thing:
        """The thing of that name, with `_` or `-`, small or large; refuses others as no `what`."""
        found = self.get(name.lower().replace("_", "-"))
        if found is None:
            raise unknown_name(what, name, self)
        return found


def add(kind: Kind, name: str, value: Any, place: str, *, own: str) -> None:
    """Adds one thing; refuses what cannot be a name, and one that is taken, with both places.

    `own` is the package's thing that is called so, or an empty text.
    """
    a_kind = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{place}: '{name}' is no name of {a_kind}: small letters, digits, - and _ are"
        )
    if own:
        raise UserError(f"{place}: '{own}' is {a_kind} of the package: choose another name")
    there = _ADDED[kind].get(name)
    # Who types it again, into an interpreter or a notebook's cell, means the new one.
    if there and not (place == there.place or place[:1] == "<" or _CELL.search(place)):
        raise UserError(
            f"{place}: there is {a_kind} '{name}' already, from {there.place}: rename one of them"
        )
    _ADDED[kind][name] = Registered(name, value, place, _RUNNING[-1] if _RUNNING else "")


def unknown_name(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error `unknown` for a kind of thing that plug-ins add to.

    Where no name is near, a plug-in may have been meant that was not named: it says how that is
    done. It names the plug-ins that failed, of which it may be.
    """
    names = list(known)
    error = unknown(what, given, names)
    if _LEFT_OUT:
        return UserError(f"{error}; it may be what {', '.join(_LEFT_OUT)} adds, which failed")
    return error if hint(given, names) else UserError(f"{error}; {PLUG_IN}")


_LEFT_OUT: list[str] = []


def note_failure(called: str) -> None:
    """Notes that a plug-in failed: what it adds is missing."""
    _LEFT_OUT.append(called)


def forget(file: str) -> None:
    """Takes away all that a file has added."""
    for things in _ADDED.values():
        for name in [name for name, each in things.items() if each.place.startswith(f"{file}:")]:
            del things[name]


@contextmanager
def undone_if_it_fails() -> Iterator[None]:
    """Takes back what was added inside the block if the block raises."""
    before = snapshot()
    try:
        yield
    except BaseException:
        restore(before)
        raise


@contextmanager
def name_failures_of(called: str) -> Iterator[None]:
    """Makes what a user's own function raises inside the block one line that names it."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{called} fails with {what} (--debug shows where)") from error


def check_call(function: Callable[..., Any], place: str, given: str) -> None:
    """Refuses a function that cannot be called with two values; `given` says what they are."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        what = f"the function is called with {given}, but: {error}"
        raise UserError(f"{place}: {what}") from error


def restore(before: Mapping[Kind, Mapping[str, Registered]]) -> None:
    """Makes what has been added what it was."""
    for kind, things in _ADDED.items():
        things.clear()
        things.update(before[kind])


def snapshot() -> Mapping[Kind, Mapping[str, Registered]]:
    """What has been added, for `restore`."""
    return {kind: dict(things) for kind, things in _ADDED.items()}


def summary_of(function: Callable[..., Any]) -> str:
    """The first line of a function's docstring, to stand inside a sentence.

    >>> summary_of(summary_of)
    "the first line of a function's docstring, to stand inside a sentence"
    """
    first = (inspect.getdoc(function) or "").partition("\n")[0].strip().rstrip(".")
    return first if first[1:2].isupper() else first[:1].lower() + first[1:]


def place_of(function: Callable[..., Any]) -> str:
    """File and line of a function; refuses what is none."""
    code = getattr(function, "__code__", None)
    if code is None:
        raise UserError(f"{caller()}: a function is needed, not {type(function).__name__}")
    return f"{code.co_filename}:{code.co_firstlineno}"


def caller() -> str:
    """File and line of the code outside this package that called."""
    frame = sys._getframe(1)
    package = str(Path(__file__).parent)
    while frame.f_code.co_filename.startswith(package) and frame.f_back:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
