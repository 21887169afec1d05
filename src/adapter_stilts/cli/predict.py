"""`adstilts predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from adapter_stilts.errors import UserError
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
    words: str | None = typer.Option(None, help="For tagging: words separated by spaces."),
    text: str | None = typer.Option(
        None, help="For sentence vectors: the text (--context: what stands around it)."
    ),
    file: Path | None = typer.Option(
        None, "--file", help="JSON Lines with these fields (question, context, ...) instead."
    ),
    backbone: str | None = typer.Option(
        None, "--backbone", help="Where the backbone lies now, if it has moved."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON Lines."),
) -> None:
    """Use a module: answer a question, classify a pair, choose an option, tag words, embed."""
    from adapter_stilts.zoo.module import FIELDS, load

    given = {
        "question": question,
        "context": context,
        "text_a": text_a,
        "text_b": text_b or None,
        "prompt": prompt,
        "options": option or None,
        "words": words.split() if words is not None else None,
        "text": text,
    }
    row = {key: value for key, value in given.items() if value is not None}
    if not row and file is None:
        raise UserError(
            "nothing to predict: give --question and --context, --text-a, --prompt and --option, "
            "--words, or --text, as the module's head needs, or --file"
        )
    rows = _rows(file) if file else [("", row)]
    loaded = load(module, task=task, backbone=backbone)
    needed = FIELDS[loaded.kind]
    for place, fields in rows:
        missing = [name for name in needed if name not in fields]
        if missing:
            where = f"{place}: " if place else ""
            raise UserError(
                f"{where}module '{loaded.record.name}' has a {loaded.kind} head and needs "
                f"{' and '.join(needed)}: '{missing[0]}' is missing"
            )
        result = loaded.predict_one(fields)
        if as_json:
            typer.echo(json.dumps(result, ensure_ascii=False))
        else:
            typer.echo(printable(_line(loaded.kind, result)))


def _rows(file: Path) -> list[tuple[str, dict[str, Any]]]:
    from adapter_stilts.data.formats import read_rows

    return [(f"{file}, line {place}", dict(row)) for place, row in read_rows(file, "jsonl")]


def _line(head: str, result: dict[str, Any]) -> str:
    if head == "span":
        return str(result["answer"]) or "(no answer in the context)"
    if head == "embedding":
        return " ".join(f"{value:.4f}" for value in result["vector"])
    if head == "classification":
        return ", ".join(f"{name} {share:.2f}" for name, share in result["labels"].items())
    if head == "choice":
        chance = result["probabilities"][result["choice"]]
        return f"{result['option']} (option {result['choice'] + 1}, {chance:.2f})"
    return " ".join(f"{word}|{tag}" for word, tag in result["tags"])
