"""Compositions: expressions over modules, such as `stack(squad, tydiqa)`, as text and as trees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from adapter_stilts.errors import UserError, suggest
from adapter_stilts.modules.merge_terms import MERGES, NUMBER, Terms, checked, number, read_options


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
        **{name: Operator(2, method.summary) for name, method in MERGES.items()},
    }
)
FUSING = ("fuse", "uniform")
"""Operators whose parts act side by side, in whatever order they are given."""
NONE = "none"
"""The composition without any module: the backbone as it is."""

_TOKEN = re.compile(r"\s*(?:(?P<quoted>\"[^\"]*\")|(?P<name>[^\s(),*\"]+)|(?P<mark>[(),*]))")


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


def leaves(expression: Expression) -> tuple[str, ...]:
    """The modules an expression names, from left to right, a fusion's own after its sources."""
    if isinstance(expression, str):
        return (expression,)
    named = tuple(leaf for part in expression.parts for leaf in leaves(part))
    return (*named, expression.by) if expression.by else named


def top(expression: Expression) -> str:
    """The module whose head an expression uses: the last one, or the fusion's own.

    What has none of its own, as a merge or modules that are weighed the same, stands for itself.
    """
    if isinstance(expression, str):
        return expression
    if expression.operator == "uniform" or expression.terms is not None:
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


def merges(expression: Expression) -> tuple[Call, ...]:
    """The merges in an expression, inner ones first."""
    if isinstance(expression, str):
        return ()
    inner = tuple(each for part in expression.parts for each in merges(part))
    return (*inner, expression) if expression.terms is not None else inner


def fusions(expression: Expression) -> tuple[Call, ...]:
    """The learnt fusions in an expression, inner ones first."""
    return tuple(each for each in fusings(expression) if each.operator == "fuse")


def fusings(expression: Expression) -> tuple[Call, ...]:
    """The fusions in an expression, learnt or not, inner ones first."""
    if isinstance(expression, str):
        return ()
    inner = tuple(each for part in expression.parts for each in fusings(part))
    return (*inner, expression) if expression.operator in FUSING else inner


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


def parse(text: str) -> Expression:
    """The expression that a text stands for.

    Names may be written in double quotes, for folders with spaces or brackets.

    Raises:
        UserError: the text is not a composition; a caret marks the place.
    """
    if text.count("(") > 100:
        raise UserError("a composition has 100 operators at most")
    reader = _Reader(text)
    expression = reader.expression()
    if reader.here:
        raise reader.wrong("nothing more was expected")
    return expression


class _Reader:
    """One pass over the tokens of a composition."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._next = 0

    def _split(self) -> Iterator[tuple[str, str, int]]:
        place = 0
        while self._text[place:].strip():
            found = _TOKEN.match(self._text, place)
            if found is None:
                raise self._error("a quote is left open", self._text.index('"', place))
            kind = str(found.lastgroup)
            yield kind, found[kind], found.start(kind)
            place = found.end()

    @property
    def here(self) -> str:
        """The token to be read, or an empty string at the end."""
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    @property
    def _kind(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def wrong(self, what: str) -> UserError:
        """The error about the token to be read."""
        at_end = self._next >= len(self._tokens)
        place = len(self._text.rstrip()) if at_end else self._tokens[self._next][2]
        return self._error(what, place)

    def _error(self, what: str, place: int) -> UserError:
        error = UserError(f"composition '{self._text.strip()}', character {place + 1}: {what}")
        error.detail = f"  {self._text}\n  {' ' * place}^"
        return error

    def expression(self) -> Expression:
        """A name, or an operator with its brackets."""
        if self._next >= len(self._tokens):
            raise self.wrong("a module's name or an operator was expected")
        kind, token, place = self._tokens[self._next]
        if kind == "mark":
            raise self.wrong(f"a module's name was expected, not '{token}'")
        self._next += 1
        if kind == "quoted":
            return token[1:-1]
        if self.here == "*":
            raise self.wrong("weights stand in merges, such as linear(0.3*squad, 0.7*mnli)")
        if self.here != "(":
            return token
        if token not in OPERATORS:
            near = suggest(token, OPERATORS)
            known = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(OPERATORS)}"
            raise self._error(f"no operator '{token}': {known}", place)
        if token in MERGES:
            return self._merge(token, place)
        parts = self._parts()
        if len(parts) < OPERATORS[token].least:
            least = OPERATORS[token].least
            raise self._error(f"{token} needs at least {least} modules, not {len(parts)}", place)
        if token == "stack":
            return stacked(*parts)
        for part in filter(merges, parts):
            what = f"{token} takes modules, not {part}: write it with `adstilts merge` first"
            raise self._error(what, place)
        return fused(*parts, operator=token)

    def _parts(self) -> tuple[Expression, ...]:
        self._next += 1  # the opening bracket
        parts = [self.expression()]
        while self.here == ",":
            self._next += 1
            parts.append(self.expression())
        self._close()
        return tuple(parts)

    def _close(self) -> None:
        if self.here != ")":
            raise self.wrong("a comma or a closing bracket was expected")
        self._next += 1

    def _merge(self, how: str, place: int) -> Expression:
        """What stands in the brackets of a merge: modules with weights or without, and options."""
        parts: list[Expression] = []
        weights: list[float] = []
        options: dict[str, str] = {}
        more = True
        while more:
            self._next += 1  # the opening bracket, or a comma
            name, is_option, value = self.here.partition("=")
            if is_option and self._kind == "name":
                options[name] = value
                self._next += 1
            else:
                weights.extend(self._weight())
                parts.append(self.expression())
            more = self.here == ","
        self._close()
        try:
            if weights and len(weights) < len(parts):
                raise UserError("give every module a weight, or none of them")
            terms = replace(read_options(options), weights=tuple(weights))
            terms = checked(MERGES[how], terms, len(parts))
        except UserError as error:
            raise self._error(str(error), place) from None
        for part in parts:
            if isinstance(part, Call) and part.terms is None:
                raise self._error(f"{how} takes modules and merges of them, not {part}", place)
        return merged(how, parts, terms)

    def _weight(self) -> list[float]:
        """The weight before the next module, if it has one."""
        ahead = self._tokens[self._next + 1 : self._next + 2]
        if self._kind != "name" or not ahead or ahead[0][1] != "*" or ahead[0][0] != "mark":
            return []
        if not NUMBER.fullmatch(self.here):
            raise self.wrong(f"a number was expected before '*', not '{self.here}'")
        weight = float(self.here)
        self._next += 2
        return [weight]
