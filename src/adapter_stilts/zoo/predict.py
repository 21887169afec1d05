"""`predict`: what a module says of one input, or of every line of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict, Unpack, cast, overload

from adapter_stilts.data.formats import decode, json_object
from adapter_stilts.errors import UserError, bad, located
from adapter_stilts.heads import get_head
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.tasks.languages import cut_words, known_language
from adapter_stilts.tasks.registry import get_target, is_task_file
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import AnyModule, find, kind_of, load
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

if TYPE_CHECKING:
    from adapter_stilts.zoo.module import Answers, Module

_TABLES = (".csv", ".tsv", ".parquet", ".xlsx")
KEPT = ("id", "lang")
"""What is no part of the input and comes back with the answer."""


class InputError(UserError):
    """Something wrong with an input; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        """Lets it come back from another process."""
        return type(self), (self.field, str(self))


def read_input(
    record: ModuleRecord, given: Mapping[str, Any], choices: int, lang: str = "", *, name: str = ""
) -> dict[str, Any]:
    """The fields that a module's head reads, under their own names; others are passed over.

    `given` is as typed, read from a line of JSON, or sent; None counts as missing. The head chooses
    among so many `choices`; `lang` is the language where the input names none, `name` what the
    module is called. InputError names a field that is missing, or not what is expected.
    """
    language = _check_language(given.get("lang") or lang)
    found: dict[str, Any] = {}
    kind, name = kind_of(record), name or record.name
    head = get_head(kind)
    for field in (*head.needs, *head.takes):
        names = (field, *head.aliases.get(field, ()))
        key = next((each for each in names if given.get(each) is not None), None)
        if key is not None:
            found[field] = _checked(field, key, given[key], language, head.listed)
        elif field in head.needs:
            needed = " and ".join(head.needs)
            raise InputError(
                field,
                f"module '{name}' has a {kind} head and needs {needed}: '{field}' is missing",
            )
    if head.chooses and len(found["options"]) != choices:
        raise InputError(
            "options",
            f"module '{name}' chooses among {choices} options, not {len(found['options'])}",
        )
    return found


def _check_language(language: Any) -> str:
    if not isinstance(language, str):
        raise InputError("lang", "'lang' must be a language's code")
    try:
        return known_language(language) if language else ""
    except UserError as error:
        raise InputError("lang", str(error)) from error


def _checked(field: str, key: str, value: Any, language: str, listed: tuple[str, ...]) -> Any:
    if field in listed:
        if field == "words" and isinstance(value, str):
            return cut_words(_text(key, value), language)
        texts = _as_list(value)
        if texts is None or not all(isinstance(each, str) for each in texts):
            raise InputError(key, f"'{key}' must be a list of texts")
        return [_text(key, each) for each in texts]
    if not isinstance(value, str):
        raise InputError(key, f"'{key}' must be a text")
    return _text(key, value)


def _as_list(value: Any) -> list[Any] | None:
    """A list, a tuple, or an array such as a data frame has them; None of what is none of these."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    is_several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return list(value) if is_several else None


def _text(key: str, value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(key, f"'{key}' holds half of a surrogate pair (\\ud…)") from error
    return value


def kept(given: Mapping[str, Any], lang: str = "") -> dict[str, Any]:
    """What comes back with the answer: the input's own `id` and its language."""
    found = {key: given[key] for key in KEPT if given.get(key) is not None}
    return {**found, "lang": lang} if lang and "lang" not in found else found


class InputFields(TypedDict, total=False):
    """The fields of one input; which of them a module reads depends on its head.

    Attributes:
        question: the question, of question answering, and of choices that answer one.
        context: the text that holds the answer; for sentence vectors, what stands around the text.
        text_a: the first text to be classified; `premise` is another name for it.
        text_b: the second text; `hypothesis` is another name for it.
        prompt: what comes before the options of a multiple choice.
        options: the options of a multiple choice; `choices` is another name for them.
        words: the words to tag, in a list or with spaces between; in ja, th and zh, characters;
            `tokens` is another name for them.
        text: the text of which a sentence vector is made; or one to classify, or to cut and tag.
    """

    question: str | None
    context: str | None
    text_a: str | None
    premise: str | None
    text_b: str | None
    hypothesis: str | None
    prompt: str | None
    options: Sequence[str] | None
    choices: Sequence[str] | None
    words: str | Sequence[str] | None
    tokens: str | Sequence[str] | None
    text: str | None


@overload
def predict(
    module: AnyModule | Module,
    examples: Sequence[Mapping[str, Any]],
    *,
    task: str | PathLike[str] | None = ...,
    lang: str | None = ...,
    backbone: str | PathLike[str] | None = ...,
) -> Answers: ...
@overload
def predict(
    module: AnyModule | Module,
    *,
    file: None = ...,
    task: str | PathLike[str] | None = ...,
    lang: str | None = ...,
    backbone: str | PathLike[str] | None = ...,
    **fields: Unpack[InputFields],
) -> dict[str, Any]: ...
@overload
def predict(
    module: AnyModule | Module,
    *,
    file: str | Path,
    task: str | PathLike[str] | None = ...,
    lang: str | None = ...,
    backbone: str | PathLike[str] | None = ...,
) -> list[dict[str, Any]]: ...
@checks_keywords
def predict(
    module: AnyModule | Module,
    examples: Sequence[Mapping[str, Any]] | None = None,
    *,
    file: str | Path | None = None,
    task: str | PathLike[str] | None = None,
    lang: str | None = None,
    backbone: str | PathLike[str] | None = None,
    **fields: Unpack[InputFields],
) -> dict[str, Any] | list[dict[str, Any]] | Answers:
    """Answers a question, classifies a pair, chooses an option, tags words, or embeds a text.

    A module that is used again and again is loaded once: `module = load("squad")`, then
    `module.predict(question=..., context=...)`.

    Args:
        module: a name, a folder, a composition, or what `load` returned.
        examples: several inputs by these fields in place of one, as of `Module.predict`.
        file: a file of JSON Lines with these fields in place of one input.
        task: whose head is used, of a module of several tasks.
        lang: the input's language by ISO 639, such as `sw`.
        backbone: chooses among modules of one name, and says where the backbone lies if it has
            moved.
        fields: see `InputFields`.

    Returns:
        The answer, or of several inputs or of a file the answers to each. The fields depend on the
        head, such as `answer`, `start` and `score` for questions, `labels` for classification: the
        probability of each, the likeliest first.

    Raises:
        UserError: no such module, a missing field, or one that is not what is expected there.

    >>> predict("squad", question="Where is Uppsala?", context="Uppsala is near Stockholm.")
    ... # doctest: +SKIP
    {'answer': 'near Stockholm', 'start': 11, 'score': 9.2}
    """
    row = {name: value for name, value in fields.items() if value is not None}
    task, backbone = text_of(task), text_of(backbone)
    if examples is not None:
        if row or file is not None:
            what = f"{next(iter(row))}=" if row else "file="
            raise UserError(f"predict(): a list of inputs, or {what}: leave out one of them")
        return _loaded(_found(module, task, backbone), backbone).predict(examples, lang=lang)
    found = answers(module, row, file, task=task, lang=lang, backbone=backbone)
    said = [answer for _, answer in found]
    return said if file is not None else said[0]


def answers(
    module: AnyModule | Module,
    row: Mapping[str, Any],
    file: str | Path | None,
    *,
    task: str | None = None,
    lang: str | None = None,
    backbone: str | None = None,
) -> Iterator[tuple[HeadKind, dict[str, Any]]]:
    """The answer to one input, or those to a file's lines as they come, with the head's kind."""
    language = known_language(lang) if lang else ""
    if not row and file is None:
        raise UserError(
            "nothing to predict: give --question and --context, --text-a, --prompt and --option, "
            "--words, or --text, as the module's head needs, or --file"
        )
    if row and file is not None:
        raise UserError(f"--file has the inputs: leave out --{next(iter(row)).replace('_', '-')}")
    if file is None:
        named = _found(module, task, backbone)
        asked = read_input(named.record, row, named.choices, language)  # before it is loaded
        (answer,) = _loaded(named, backbone).predict_rows([asked])
        yield kind_of(named.record), {**kept(row, language), **answer}
        return
    path = Path(file)
    if path.suffix.lower() in _TABLES:
        raise UserError(f"--file '{file}': JSON Lines were expected, one object an input")
    with opened(path) as lines:
        named = _found(module, task, backbone)
        kind_of(named.record)  # says so where it has no head
        loaded = _loaded(named, backbone)
        where = STDIN_NAME if path == STDIN else path
        for answer in answers_to_lines(loaded, lines, where, lang=language):
            yield loaded.kind, answer


def _found(
    module: AnyModule | Module, task: str | None, backbone: str | None
) -> ResolvedComposition | Module:
    """What a name stands for, before anything is loaded; a module in memory is itself."""
    if hasattr(module, "predict_one"):  # its class is imported with torch only
        return cast("Module", module)
    if task and is_task_file(task):
        task = get_target(task).name
    return find(module, task=task, backbone=backbone)


def _loaded(found: ResolvedComposition | Module, backbone: str | None) -> Module:
    return load(found, backbone=backbone) if isinstance(found, ResolvedComposition) else found


BLOCK = 1 << 18
"""Bytes taken at a time at most: some hundred inputs, sorted by length among themselves."""
LONGEST = 4 << 20
"""Bytes a line may have."""

Pair = tuple[dict[str, Any], dict[str, Any]]
"""A line as it was given, and the input it stands for."""

STDIN = Path("-")
STDIN_NAME = Path("standard input")
"""What it is called in messages."""


def answers_to_lines(
    module: Module, file: BinaryIO, where: Path, *, lang: str = ""
) -> Iterator[Any]:
    """The module's answer to every line, in their order, with the line's own `id` and `lang`.

    What can be read is answered before more is waited for. A bad line ends the stream, refused by
    its number, after the answers to the lines before it. Lines that name no language are in `lang`.
    """
    for block in _blocks(file, where):
        pairs: list[Pair] = []
        wrong: UserError | None = None
        for number, line in block:
            try:
                pairs += _pairs(module, where, number, line, lang)
            except UserError as error:
                wrong = error
                break
        inputs = [given for _, given in pairs]
        found = module.predict_rows(inputs) if inputs else []
        for (row, _), answer in zip(pairs, found, strict=True):
            yield {**kept(row, lang), **answer}
        if wrong is not None:
            raise wrong


def _pairs(module: Module, where: Path, number: int, line: bytes, lang: str) -> list[Pair]:
    """A line with its input; of a blank one, nothing."""
    if len(line) > LONGEST:
        raise bad(where, number, f"longer than {LONGEST >> 20} MB: one JSON object a line")
    text = decode(where, number, line)
    if not text.strip():
        return []
    row = json_object(where, number, text)
    try:
        return [(row, read_input(module.record, row, module.choices, lang))]
    except UserError as error:
        raise UserError(f"{located(where, number)}: {error}") from error


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
    """A file for reading; `-` is standard input. Refuses one that cannot be read."""
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    with file:
        yield file
