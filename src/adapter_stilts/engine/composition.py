"""Compositions: expressions over modules, such as `stack(squad, tydiqa)`, as trees and as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from adapter_stilts.errors import UserError
from adapter_stilts.merging.methods import MERGES, NUMBER, Terms, check_terms, number, read_options
from adapter_stilts.registered import unknown_name

OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "stack": "one module on top of another; the last one's head is used",
        "fuse": "modules side by side, weighed by attention learnt on a target",
        "uniform": "modules side by side, all weighed the same: nothing is learnt",
        "arrow": "LoRAs side by side, chosen by each token's input: nothing is learnt",
    }
)


def operators() -> Mapping[str, str]:
    """What each operator does: of those, and of the ways of merging, a plug-in's included."""
    return {**OPERATORS, **{name: method.summary for name, method in MERGES.items()}}


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
        parts = list(map(canonical, self.parts))
        if self.terms is not None:
            for place, weight in enumerate(self.terms.weights):
                parts[place] = f"{number(weight)}*{parts[place]}"
            parts += self.terms.options()
        return f"{self.operator}({', '.join(parts)})"


Expression = str | Call
"""A module's name (or folder, or Hub id), or an operator over expressions."""


def canonical(expression: Expression) -> str:
    """The one way of writing an expression."""
    if isinstance(expression, Call) or re.fullmatch(r"[^\s(),*=\"]+", expression):
        return str(expression)
    return f'"{expression}"'


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


def build_fusion(*expressions: Expression, by: str = "", operator: str = "fuse") -> Call:
    """Expressions side by side, in the one order of their fusion.

    >>> str(build_fusion("squad", "mnli"))
    'fuse(mnli, squad)'
    """
    return Call(operator, tuple(sorted(expressions, key=canonical)), by)


def build_merge(how: str, parts: Sequence[Expression], terms: Terms) -> Call:
    """A merge of expressions, in their one order, which makes no difference to it.

    >>> str(build_merge("linear", ["squad", "mnli"], Terms((0.3, 0.7))))
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
        return build_fusion(*parts, by=expression.by, operator=expression.operator)
    if expression.terms is not None:
        return build_merge(expression.operator, parts, expression.terms)
    return replace(expression, parts=parts)


def calls(expression: Expression) -> Iterator[Call]:
    """The operators in an expression, inner ones first."""
    if isinstance(expression, Call):
        for part in expression.parts:
            yield from calls(part)
        yield expression


def merges(expression: Expression) -> tuple[Call, ...]:
    """The merges in an expression, inner ones first."""
    return tuple(each for each in calls(expression) if each.terms is not None)


def fusions(expression: Expression) -> tuple[Call, ...]:
    """The learnt fusions in an expression, inner ones first."""
    return tuple(each for each in fusings(expression) if each.operator == "fuse")


def attending(expression: Expression) -> tuple[Call, ...]:
    """The fusions whose weights depend on what is read, inner ones first."""
    return tuple(each for each in fusings(expression) if each.operator != "uniform")


def fusings(expression: Expression) -> tuple[Call, ...]:
    """The fusions in an expression, learnt or not, inner ones first."""
    return tuple(each for each in calls(expression) if each.operator in FUSING)


def learnt(expression: Expression, names: Mapping[str, str]) -> Expression:
    """The expression with every fusion's own module, by the fusion's canonical text."""
    if isinstance(expression, str):
        return expression
    parts = tuple(learnt(part, names) for part in expression.parts)
    by = names.get(canonical(expression), expression.by)
    return replace(expression, parts=parts, by=by)


def rename_modules(expression: Expression, rename: Callable[[str], str]) -> Expression:
    """The same expression over other names."""
    if isinstance(expression, str):
        return rename(expression)
    parts = tuple(rename_modules(part, rename) for part in expression.parts)
    return replace(expression, parts=parts, by=rename(expression.by) if expression.by else "")


def expand_names(expression: Expression, meaning: Mapping[str, Expression]) -> Expression:
    """The same expression with what some of its names stand for in their place."""
    if isinstance(expression, str):
        return meaning.get(expression, expression)
    return replace(
        expression, parts=tuple(expand_names(part, meaning) for part in expression.parts)
    )


def build_stack(*expressions: Expression) -> Expression:
    """One expression on top of another, with stacks inside stacks flattened.

    >>> str(build_stack(build_stack("sw", "squad"), "tydiqa"))
    'stack(sw, squad, tydiqa)'
    """
    parts: list[Expression] = []
    for each in expressions:
        is_stack = isinstance(each, Call) and each.operator == "stack"
        parts.extend(each.parts if is_stack else (each,))  # type: ignore[union-attr]
    return parts[0] if len(parts) == 1 else Call("stack", tuple(parts))


_TOKEN = re.compile(r"\s*(?:(?P<quoted>\"[^\"]*\")|(?P<name>[^\s(),*\"]+)|(?P<mark>[(),*]))")


def parse(text: str) -> Expression:
    """The expression that a text stands for.

    Names may be written in double quotes, for folders with spaces or brackets. Refuses what is no
    composition; a caret marks the place.
    """
    if text.count("(") > 100:
        raise UserError("a composition has 100 operators at most")
    reader = _Reader(text)
    expression = reader.expression()
    if reader.here:
        raise reader.wrong(f"nothing more was expected{reader.hint}")
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

    @property
    def hint(self) -> str:
        """What helps where one name follows another, as the two halves of `my folder` do."""
        two = self._next > 0 and self._kind == self._tokens[self._next - 1][0] == "name"
        return ': a folder with spaces stands in quotes, as in stack("my folder/squad", qa)' * two

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
        if self.here == "*" and token.endswith(EACH_LANGUAGE[:-1]):
            raise self._error(
                f"{EACH_LANGUAGE} is for the evaluation of one task and for train-target: here "
                "name a language, as lang:sw",
                place,
            )
        if self.here == "*" and token.endswith("-s"):
            one = token.removesuffix("-s")
            raise self._error(
                f"{token}* is all seeds of {one}, which `evaluate` and `compare` take: here name "
                f"one of them, such as {one} or {one}-s1",
                place,
            )
        if self.here == "*":
            raise self.wrong("weights stand in merges, such as linear(0.3*squad, 0.7*mnli)")
        if self.here != "(":
            return token
        if token not in operators():
            raise self._error(str(unknown_name("operator", token, operators())), place)
        if token in MERGES:
            return self._merge(token, place)
        parts = self._parts()
        if len(parts) < 2:
            raise self._error(f"{token} needs at least 2 modules, not {len(parts)}", place)
        if token == "stack":
            return build_stack(*parts)
        for part in filter(merges, parts):
            what = f"{token} takes modules, not {part}: write it with `adstilts merge` first"
            raise self._error(what, place)
        return build_fusion(*parts, operator=token)

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
            raise self.wrong(f"a comma or a closing bracket was expected{self.hint}")
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
            terms = check_terms(MERGES[how], terms, len(parts))
        except UserError as error:
            raise self._error(str(error), place) from None
        for part in parts:
            if isinstance(part, Call) and part.terms is None:
                raise self._error(f"{how} takes modules and merges of them, not {part}", place)
        return build_merge(how, parts, terms)

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
