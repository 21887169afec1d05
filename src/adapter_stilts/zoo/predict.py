"""`predict`: what a module says of one input, or of every line of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast, overload

from adapter_stilts.errors import UserError
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.tasks.languages import check_language, cut_words
from adapter_stilts.tasks.registry import get_target, is_task_file
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.inputs import kept, read_input
from adapter_stilts.zoo.load import AnyModule, find, kind_of, load
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

if TYPE_CHECKING:
    from adapter_stilts.zoo.module import Module


class InputFields(TypedDict, total=False):
    """The fields of one input; which of them a module reads depends on its head.

    Attributes:
        question: the question, of question answering, and of choices that answer one.
        context: the text that holds the answer; for sentence vectors, what stands around the text.
        text_a: the first text to be classified; `premise` is another name for it.
        text_b: the second text; `hypothesis` is another name for it.
        prompt: what comes before the options of a multiple choice.
        options: the options of a multiple choice.
        words: the words to tag, in a list or with spaces between; in ja, th and zh, characters.
        text: the text of which a sentence vector is made.
    """

    question: str | None
    context: str | None
    text_a: str | None
    premise: str | None
    text_b: str | None
    hypothesis: str | None
    prompt: str | None
    options: Sequence[str] | None
    words: str | Sequence[str] | None
    text: str | None


@overload
def predict(
    module: AnyModule | Module,
    *,
    file: None = ...,
    task: str | None = ...,
    lang: str | None = ...,
    backbone: str | None = ...,
    **fields: Unpack[InputFields],
) -> dict[str, Any]: ...
@overload
def predict(
    module: AnyModule | Module,
    *,
    file: str | Path,
    task: str | None = ...,
    lang: str | None = ...,
    backbone: str | None = ...,
) -> list[dict[str, Any]]: ...
@checks_keywords
def predict(
    module: AnyModule | Module,
    *,
    file: str | Path | None = None,
    task: str | None = None,
    lang: str | None = None,
    backbone: str | None = None,
    **fields: Unpack[InputFields],
) -> dict[str, Any] | list[dict[str, Any]]:
    """Answers a question, classifies a pair, chooses an option, tags words, or embeds a text.

    A module that is used again and again is loaded once: `module = load("squad")`, then
    `module.predict(question=..., context=...)`.

    Args:
        module: a name, a folder, a composition, or what `load` returned.
        file: a file of JSON Lines with these fields in place of one input.
        task: whose head is used, of a module of several tasks.
        lang: the input's language by ISO 639, such as `sw`.
        backbone: chooses among modules of one name, and says where the backbone lies if it has
            moved.
        fields: see `InputFields`.

    Returns:
        The answer, or of a file the answers to its lines. The fields depend on the head, such as
        `answer`, `start` and `score` for questions, `label` and `labels` for classification.

    Raises:
        UserError: no such module, a missing field, or one that is not what is expected there.

    >>> predict("squad", question="Where is Uppsala?", context="Uppsala is near Stockholm.")
    ... # doctest: +SKIP
    {'answer': 'near Stockholm', 'start': 11, 'score': 9.2}
    """
    row = {name: value for name, value in fields.items() if value is not None}
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
    """The answer to one input, or those to the lines of a file as they come, with the head's kind.

    Raises:
        UserError: as of `predict`.
    """
    language = check_language(lang) if lang else ""
    if not row and file is None:
        raise UserError(
            "nothing to predict: give --question and --context, --text-a, --prompt and --option, "
            "--words, or --text, as the module's head needs, or --file"
        )
    if row and file is not None:
        raise UserError(f"--file has the inputs: leave out --{next(iter(row)).replace('_', '-')}")
    if file is None:
        yield _answer(module, row, language, task, backbone)
        return
    from adapter_stilts.zoo.stream import STDIN, STDIN_NAME, opened
    from adapter_stilts.zoo.stream import answers as answers_to_lines

    path = Path(file)
    with opened(path) as lines:
        named = _found(module, task, backbone)
        kind_of(named.record)  # says so where it has no head
        loaded = _loaded(named, backbone)
        where = STDIN_NAME if path == STDIN else path
        for answer in answers_to_lines(loaded, lines, where, lang=language):
            yield loaded.kind, answer


def _answer(
    module: AnyModule | Module,
    row: Mapping[str, Any],
    language: str,
    task: str | None,
    backbone: str | None,
) -> tuple[HeadKind, dict[str, Any]]:
    if isinstance(words := row.get("words"), str):
        row = {**row, "words": cut_words(words, language)}
    row = {name: list(value) if _is_listed(value) else value for name, value in row.items()}
    found = _found(module, task, backbone)
    kind = kind_of(found.record)  # of either: a module in memory has a record, too
    asked = read_input(kind, row, name=found.record.name, choices=found.choices, lang=language)
    return kind, {**kept(row, language), **_loaded(found, backbone).predict_one(asked)}


def _is_listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


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
