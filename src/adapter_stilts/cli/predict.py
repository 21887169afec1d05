"""`adstilts predict`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer

from adapter_stilts.cli.evaluation_options import BACKBONE
from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head
from adapter_stilts.safety import printable


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("predict")(predict)


def predict(
    module: str = typer.Option(
        ..., "--with", help="A module: its folder, or its name in the zoo.", metavar="MODULE"
    ),
    task: str | None = typer.Option(
        None, "--task", help="Whose head to use, of a module of several tasks."
    ),
    question: str | None = typer.Option(
        None, help="For question answering, and for choices that answer one."
    ),
    context: str | None = typer.Option(None, help="The text that holds the answer."),
    text_a: str | None = typer.Option(
        None, "--text-a", "--premise", help="For classification: the first text."
    ),
    text_b: str = typer.Option("", "--text-b", "--hypothesis", help="The second text."),
    prompt: str | None = typer.Option(None, help="For multiple choice: what comes before."),
    option: list[str] = typer.Option([], "--option", help="One of the choices; repeat it."),
    words: str | None = typer.Option(
        None, help="For tagging: words separated by spaces; in ja, th and zh, characters."
    ),
    text: str | None = typer.Option(
        None, help="For sentence vectors: the text (--context: what stands around it)."
    ),
    file: Path | None = typer.Option(
        None,
        "--file",
        help="JSON Lines with these fields (question, context, ...) instead; - for standard "
        "input. Answers come as lines do; id and lang of a line come back with its answer.",
    ),
    lang: str | None = typer.Option(
        None, "--lang", help="The input's language by ISO 639, such as sw or zh."
    ),
    backbone: str | None = BACKBONE,
    as_json: bool = typer.Option(False, "--json", help="Print JSON Lines."),
) -> None:
    """Use a module: answer a question, classify a pair, choose an option, tag words, embed.

    The text may be in any language that the backbone reads.
    """
    from adapter_stilts.tasks.languages import check_language, cut_words
    from adapter_stilts.tasks.registry import get_target, is_task_file
    from adapter_stilts.zoo.inputs import kept, read_input
    from adapter_stilts.zoo.load import find, kind_of, load

    language = check_language(lang) if lang else ""
    given = {
        "question": question,
        "context": context,
        "text_a": text_a,
        "text_b": text_b or None,
        "prompt": prompt,
        "options": option or None,
        "words": cut_words(words, language) if words is not None else None,
        "text": text,
    }
    row = {key: value for key, value in given.items() if value is not None}
    if not row and file is None:
        raise UserError(
            "nothing to predict: give --question and --context, --text-a, --prompt and --option, "
            "--words, or --text, as the module's head needs, or --file"
        )
    if row and file is not None:
        raise UserError(f"--file has the inputs: leave out --{next(iter(row)).replace('_', '-')}")
    if file:
        from adapter_stilts.zoo.stream import STDIN, STDIN_NAME, answers, opened
    with opened(file) if file else nullcontext() as lines:
        if task and is_task_file(task):
            task = get_target(task).name
        found = find(module, task=task, backbone=backbone)
        kind = kind_of(found.record)
        if file and lines:
            where = STDIN_NAME if file == STDIN else file
            for answer in answers(load(found, backbone=backbone), lines, where, lang=language):
                _show(kind, answer, as_json)
            return
        name, choices = found.record.name, found.choices
        asked = read_input(kind, row, name=name, choices=choices, lang=language)
        answer = load(found, backbone=backbone).predict_one(asked)
        _show(kind, {**kept(row, language), **answer}, as_json)


def _show(kind: str, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(printable(get_head(kind).line(answer)))
