"""Compositions: expressions over modules, such as `stack(squad, tydiqa)`, as trees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from adapter_stilts.merging.registry import MERGES
from adapter_stilts.merging.terms import Terms, number


@dataclass(frozen=True)
class Operator:
    """What may stand in an operator's brackets."""

    least: int
    summary: str


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "stack": Operator(2, "one module on top of another; the last one's head is used"),
        "fuse": Operator(2, "modules side by side, weighed by attention learnt on a target"),
        "uniform": Operator(2, "modules side by side, all weighed the same: nothing is learnt"),
        "arrow": Operator(2, "LoRAs side by side, chosen by each token's input: nothing is learnt"),
    }
)


def operators() -> Mapping[str, Operator]:
    """All operators by name: those, and the ways of merging, a plug-in's included."""
    merging = {name: Operator(2, method.summary) for name, method in MERGES.items()}
    return {**OPERATORS, **merging}


UNLEARNT = ("uniform", "arrow")
"""Fusions that need no training, and have no head."""
FUSING = ("fuse", *UNLEARNT)
"""Operators whose parts act side by side, in whatever order they are given."""
NONE = "none"
"""The composition without any module: the backbone as it is."""

EACH_LANGUAGE = "lang:*"
"""Stands for the module of each language that is evaluated, or of the one that is trained in."""


@dataclass(frozen=True)
class Call:
    """An operator over expressions.

    `by` names the module that holds what a fusion has learnt. It is not written: a fusion is
    found by what it fuses. `terms` are those of a merge, and of nothing else.
    """

    operator: str
    parts: tuple[Expression, ...]
    by: str = ""
    terms: Terms | None = None

    def __repr__(self) -> str:
        return f"<composition {self}>"

    def __str__(self) -> str:
        parts = list(map(_written, self.parts))
        if self.terms is not None:
            for place, weight in enumerate(self.terms.weights):
                parts[place] = f"{number(weight)}*{parts[place]}"
            parts += self.terms.options()
        return f"{self.operator}({', '.join(parts)})"


Expression = str | Call
"""A module's name (or folder, or Hub id), or an operator over expressions."""


def _written(part: Expression) -> str:
    if isinstance(part, Call) or re.fullmatch(r"[^\s(),*=\"]+", part):
        return str(part)
    return f'"{part}"'


def canonical(expression: Expression) -> str:
    """The one way of writing an expression."""
    return _written(expression)


def module_names(expression: Expression) -> tuple[str, ...]:
    """The modules an expression names, from left to right, a fusion's own after its sources."""
    if isinstance(expression, str):
        return (expression,)
    named = tuple(name for part in expression.parts for name in module_names(part))
    return (*named, expression.by) if expression.by else named


def top(expression: Expression) -> str:
    """The module whose head an expression uses: the last one, or the fusion's own.

    What has none of its own, as a merge or a fusion that is not learnt, stands for itself.
    """
    if isinstance(expression, str):
        return expression
    if expression.operator in UNLEARNT or expression.terms is not None:
        return canonical(expression)
    return expression.by or top(expression.parts[-1])


def fused(*expressions: Expression, by: str = "", operator: str = "fuse") -> Call:
    """Expressions side by side, in the one order of their fusion.

    >>> str(fused("squad", "mnli"))
    'fuse(mnli, squad)'
    """
    return Call(operator, tuple(sorted(expressions, key=canonical)), by)


def merged(how: str, parts: Sequence[Expression], terms: Terms) -> Call:
    """A merge of expressions, in their one order, which makes no difference to it.

    >>> str(merged("linear", ["squad", "mnli"], Terms((0.3, 0.7))))
    'linear(0.7*mnli, 0.3*squad)'
    """
    order = sorted(range(len(parts)), key=lambda place: canonical(parts[place]))
    return Call(how, tuple(parts[place] for place in order), terms=terms.in_order(order))


def in_order(expression: Expression) -> Expression:
    """The expression with the parts of its fusions and merges in their one order."""
    if isinstance(expression, str):
        return expression
    parts = tuple(map(in_order, expression.parts))
    if expression.operator in FUSING:
        return fused(*parts, by=expression.by, operator=expression.operator)
    if expression.terms is not None:
        return merged(expression.operator, parts, expression.terms)
    return replace(expression, parts=parts)


def _calls(expression: Expression) -> Iterator[Call]:
    """The operators in an expression, inner ones first."""
    if isinstance(expression, Call):
        for part in expression.parts:
            yield from _calls(part)
        yield expression


def merges(expression: Expression) -> tuple[Call, ...]:
    """The merges in an expression, inner ones first."""
    return tuple(each for each in _calls(expression) if each.terms is not None)


def fusions(expression: Expression) -> tuple[Call, ...]:
    """The learnt fusions in an expression, inner ones first."""
    return tuple(each for each in fusings(expression) if each.operator == "fuse")


def attending(expression: Expression) -> tuple[Call, ...]:
    """The fusions whose weights depend on what is read, inner ones first."""
    return tuple(each for each in fusings(expression) if each.operator != "uniform")


def fusings(expression: Expression) -> tuple[Call, ...]:
    """The fusions in an expression, learnt or not, inner ones first."""
    return tuple(each for each in _calls(expression) if each.operator in FUSING)


def learnt(expression: Expression, names: Mapping[str, str]) -> Expression:
    """The expression with every fusion's own module, by the fusion's canonical text."""
    if isinstance(expression, str):
        return expression
    parts = tuple(learnt(part, names) for part in expression.parts)
    by = names.get(canonical(expression), expression.by)
    return replace(expression, parts=parts, by=by)


def renamed(expression: Expression, rename: Callable[[str], str]) -> Expression:
    """The same expression over other names."""
    if isinstance(expression, str):
        return rename(expression)
    parts = tuple(renamed(part, rename) for part in expression.parts)
    return replace(expression, parts=parts, by=rename(expression.by) if expression.by else "")


def opened(expression: Expression, meaning: Mapping[str, Expression]) -> Expression:
    """The same expression with what some of its names stand for in their place."""
    if isinstance(expression, str):
        return meaning.get(expression, expression)
    return replace(expression, parts=tuple(opened(part, meaning) for part in expression.parts))


def stacked(*expressions: Expression) -> Expression:
    """One expression on top of another, with stacks inside stacks flattened.

    >>> str(stacked(stacked("sw", "squad"), "tydiqa"))
    'stack(sw, squad, tydiqa)'
    """
    parts: list[Expression] = []
    for each in expressions:
        is_stack = isinstance(each, Call) and each.operator == "stack"
        parts.extend(each.parts if is_stack else (each,))  # type: ignore[union-attr]
    return parts[0] if len(parts) == 1 else Call("stack", tuple(parts))
