"""Compositions written in Python: `stack("squad", "tydiqa")` prints as `stack(squad, tydiqa)`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

from adapter_stilts.engine.composition import (
    OPERATORS,
    Call,
    Expression,
    build_merge,
    canonical,
    in_order,
    operators,
    parse,
)
from adapter_stilts.errors import UserError, shown
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.merging.methods import Terms, check_terms, get_merge
from adapter_stilts.paths import is_folder


@runtime_checkable
class Loaded(Protocol):
    """Modules in memory that can say where they were loaded from, as of `load`."""

    @property
    def loaded_from(self) -> str:
        """Their composition as text, over folders."""


Composition = str | os.PathLike[str] | Call | Loaded
"""What is accepted where a composition is meant: its text, a module's folder, or an object.

A folder is a path, or what has one, such as what `train_adapter` returns. A module that `load`
brought into memory stands for the files that it was loaded from.
"""


class MergeTerms(TypedDict, total=False):
    """The options of a composition that merges modules.

    Attributes:
        weights: one number for each module.
        density: the fraction of the values that `ties` and `dare_ties` keep.
        lora: whether LoRAs are merged by `products` or by `factors`.
        rank: the rank of a LoRA merged by products; 0 takes the largest of the sources.
        seed: the number that decides which values `dare_ties` drops.
    """

    weights: Sequence[float]
    density: float
    lora: str
    rank: int
    seed: int


@checks_keywords
def compose(operator: str, *parts: Composition, **options: Unpack[MergeTerms]) -> Call:
    """An operator over modules or compositions.

    Args:
        operator: `stack`, `fuse`, `uniform`, `arrow`, or a way of merging, a plug-in's included.
        parts: names, folders, texts or other compositions.
        options: see `MergeTerms`; only merges have any.

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
        trees = list(map(as_expression, parts))
        given: dict[str, Any] = {**options, "weights": tuple(options.get("weights", ()))}
        terms = check_terms(get_merge(operator), Terms(**given), len(trees))
        found = in_order(parse(str(build_merge(operator, trees, terms))))
    assert isinstance(found, Call)
    return found


def as_expression(part: Composition) -> Expression:
    """One part of a composition as a tree; refuses what is no text, path or composition."""
    if isinstance(part, Call):
        return replace(part)
    if isinstance(part, os.PathLike):
        return os.fspath(part)
    if isinstance(part, str):
        if not part.strip():
            raise UserError("an empty text is no composition: name a module")
        return part if is_folder(part) else parse(part)
    if isinstance(part, Loaded):
        return as_expression(part.loaded_from)
    raise UserError(
        f"{shown(part)} is no composition: that is a text, a path, or what ads.stack(…) and the "
        "like return"
    )


def as_text(part: Composition) -> str:
    """One composition as text; refuses what `as_expression` does."""
    return part if isinstance(part, str) else canonical(as_expression(part))


def as_texts(given: Composition | Sequence[Composition]) -> list[str]:
    """One composition, or several, as texts."""
    if isinstance(given, (str, os.PathLike, Call, Loaded)) or not isinstance(given, Iterable):
        return [as_text(given)]  # which says what is accepted
    return [as_text(each) for each in given]


class Operator(Protocol):
    """A function that makes a composition of an operator over its parts."""

    def __call__(self, *parts: Composition, **options: Unpack[MergeTerms]) -> Call:
        """The composition as an object, which prints as text."""


def _operator(name: str) -> Operator:
    def make(*parts: Composition, **options: Unpack[MergeTerms]) -> Call:
        return compose(name, *parts, **options)

    make.__name__ = make.__qualname__ = name.replace("-", "_")
    make.__doc__ = _description(name)
    return checks_keywords(make)


def _description(name: str) -> str:
    """The docstring of an operator's function."""
    said = operators()[name]
    about = "weights=[0.3, 0.7] and others of a merge; `MergeTerms` says what each one means."
    options = "there are none." if name in OPERATORS else about
    return f"""{said[0].upper()}{said[1:]}.

    Nothing is loaded or computed. What is returned prints as text, such as `{name}(squad, mnli)`,
    and is accepted wherever a composition is meant: `load`, `evaluate`, `on=` of `train_target`.

    Args:
        parts: names of modules, their folders, compositions as texts or as objects.
        options: {options}

    Raises:
        UserError: a part is no composition, or there are too few or too many; an option that does
            not fit.
    """


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
