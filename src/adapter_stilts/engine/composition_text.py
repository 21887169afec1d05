"""From the text of a composition to its tree, with errors that mark the place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from adapter_stilts.engine.composition import (
    EACH_LANGUAGE,
    Call,
    Expression,
    fused,
    merged,
    merges,
    operators,
    stacked,
)
from adapter_stilts.errors import UserError
from adapter_stilts.merging.registry import MERGES
from adapter_stilts.merging.terms import NUMBER, checked, read_options
from adapter_stilts.registered import unregistered

_TOKEN = re.compile(r"\s*(?:(?P<quoted>\"[^\"]*\")|(?P<name>[^\s(),*\"]+)|(?P<mark>[(),*]))")


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
        if self.here == "*":
            raise self.wrong("weights stand in merges, such as linear(0.3*squad, 0.7*mnli)")
        if self.here != "(":
            return token
        if token not in operators():
            raise self._error(str(unregistered("operator", token, operators())), place)
        if token in MERGES:
            return self._merge(token, place)
        parts = self._parts()
        if len(parts) < operators()[token].least:
            least = operators()[token].least
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
