"""Compositions written in Python: `stack("squad", "tydiqa")` prints as `stack(squad, tydiqa)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapter_stilts.engine.composition import (
    OPERATORS,
    Call,
    Expression,
    canonical,
    in_order,
    merged,
    operators,
)
from adapter_stilts.engine.composition_text import parse
from adapter_stilts.errors import UserError
from adapter_stilts.merging.registry import get_merge
from adapter_stilts.merging.terms import Terms, checked

Composition = str | Path | Call
"""What is accepted where a composition is meant: its text, a module's folder, or an object."""


def compose(operator: str, *parts: Composition, **options: Any) -> Call:
    """An operator over modules or compositions.

    Args:
        operator: `stack`, `fuse`, `uniform`, `arrow`, or a way of merging, a plug-in's included.
        parts: names, folders, texts or other compositions.
        options: of a merge: `weights`, `density`, `lora`, `rank`, `seed`.

    Raises:
        UserError: no such operator, or parts or options that do not fit it.

    >>> str(compose("stack", "squad", "tydiqa"))
    'stack(squad, tydiqa)'
    """
    if operator not in operators():
        get_merge(operator)
    if operator in OPERATORS:
        if options:
            raise UserError(f"{operator} has no option '{next(iter(options))}'")
        found = parse(str(Call(operator, tuple(map(as_expression, parts)))))
    else:
        found = _merge(operator, parts, **options)
    assert isinstance(found, Call)
    return found


def _merge(
    how: str,
    parts: Sequence[Composition],
    *,
    weights: Sequence[float] = (),
    density: float = 0.0,
    lora: str = "products",
    rank: int = 0,
    seed: int = 0,
) -> Expression:
    terms = Terms(tuple(weights), density, lora, rank, seed)
    terms = checked(get_merge(how), terms, len(parts))
    return in_order(parse(str(merged(how, list(map(as_expression, parts)), terms))))


def as_expression(part: Composition) -> Expression:
    """One part of a composition as a tree.

    Raises:
        UserError: it is no text, no path and no composition.
    """
    if isinstance(part, Call):
        return replace(part)
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, str):
        return part if Path(part).is_dir() else parse(part)
    raise UserError(
        f"{part!r} is a {type(part).__name__}: a composition is a text, a path, or what "
        "ads.stack(…) and the like return"
    )


def as_text(part: Composition) -> str:
    """One composition as text.

    Raises:
        UserError: as of `as_expression`.
    """
    return part if isinstance(part, str) else canonical(as_expression(part))


def as_texts(given: Composition | Sequence[Composition]) -> list[str]:
    """One composition, or several, as texts."""
    several = [given] if isinstance(given, (str, Path, Call)) else list(given)
    return [as_text(each) for each in several]


def _operator(name: str) -> Callable[..., Call]:
    def make(*parts: Composition, **options: Any) -> Call:
        return compose(name, *parts, **options)

    make.__name__ = make.__qualname__ = name.replace("-", "_")
    make.__doc__ = f"{operators()[name].summary}, as a composition; see `compose`."
    return make


stack = _operator("stack")
uniform = _operator("uniform")
arrow = _operator("arrow")
average = _operator("average")
linear = _operator("linear")
task_arithmetic = _operator("task-arithmetic")
ties = _operator("ties")
dare_ties = _operator("dare-ties")
slerp = _operator("slerp")
fusion = _operator("fuse")
"""Named so because `fuse` learns one: `fusion("squad", "mnli")` is the one that was learnt."""
