"""JSON Lines in, answers out, as they come: memory does not grow with the input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from adapter_stilts.data.formats import BOM
from adapter_stilts.data.json_values import load_json
from adapter_stilts.data.places import bad, located
from adapter_stilts.errors import UserError, shown
from adapter_stilts.zoo.inputs import kept, read_input

if TYPE_CHECKING:
    from adapter_stilts.zoo.module import Module

BLOCK = 1 << 18
"""Bytes taken at a time at most: some hundred inputs, sorted by length among themselves."""
LONGEST = 4 << 20
"""Bytes a line may have."""

Pair = tuple[dict[str, Any], dict[str, Any]]
"""A line as it was given, and the input it stands for."""

STDIN = Path("-")
STDIN_NAME = Path("standard input")
"""What it is called in messages."""


def answers(module: Module, file: BinaryIO, where: Path, *, lang: str = "") -> Iterator[Any]:
    """The module's answer to every line, in their order, with the line's own `id` and `lang`.

    What can be read is answered before more is waited for. A bad line ends the stream after the
    answers to the lines before it.

    Args:
        lang: the language of lines that name none.

    Raises:
        UserError: names the line.
    """
    read = _reader(module, where, lang)
    for block in _blocks(file, where):
        pairs: list[Pair] = []
        wrong: UserError | None = None
        for number, line in block:
            try:
                pairs += read(number, line)
            except UserError as error:
                wrong = error
                break
        inputs = [given for _, given in pairs]
        found = module.predict_rows(inputs) if inputs else []
        for (row, _), answer in zip(pairs, found, strict=True):
            yield {**kept(row, lang), **answer}
        if wrong is not None:
            raise wrong


def _reader(module: Module, where: Path, lang: str) -> Callable[[int, bytes], list[Pair]]:
    """What makes a row and an input of a line; of a blank one, nothing."""
    kind, name = module.kind, module.record.name
    choices = module.choices

    def read(number: int, line: bytes) -> list[Pair]:
        row = _row(where, number, line)
        if row is None:
            return []
        try:
            return [(row, read_input(kind, row, name=name, choices=choices, lang=lang))]
        except UserError as error:
            raise UserError(f"{located(where, number)}: {error}") from error

    return read


def _row(where: Path, number: int, line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None of a blank one."""
    if number == 1:
        line = line.removeprefix(BOM)
    if len(line) > LONGEST:
        raise bad(where, number, f"longer than {LONGEST >> 20} MB: one JSON object a line")
    if not line.strip():
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise bad(
            where, number, f"not UTF-8: byte 0x{byte:02x} at byte {error.start + 1} of the line"
        ) from error
    row = load_json(where, number, text, "one JSON object a line")
    if not isinstance(row, dict):
        raise bad(where, number, f"{shown(row)} where a JSON object was expected")
    return row


def _blocks(file: BinaryIO, where: Path) -> Iterator[list[tuple[int, bytes]]]:
    """The lines that are there, with their numbers, as soon as any is; a bounded number."""
    number, rest = 0, b""
    while data := file.read1(BLOCK):  # type: ignore[attr-defined]
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            yield list(enumerate(lines, start=number + 1))
            number += len(lines)
        if len(rest) > LONGEST:
            break  # the line is refused as it is; no more of it is read
    if rest:
        yield [(number + 1, rest)]
        number += 1
    if not number and where != STDIN_NAME:
        raise UserError(f"{where}: the file is empty")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file for reading; `-` is standard input.

    Raises:
        UserError: it cannot be read.
    """
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    with file:
        yield file
