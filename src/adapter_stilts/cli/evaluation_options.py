"""Options of the commands that read texts in many languages: evaluate and explain."""

from __future__ import annotations

import typer

LANGS = typer.Option(
    "all",
    "--langs",
    help="all (of the task's suites), the languages of xtreme or xtreme-r, or codes with commas "
    "between, such as ko,sw,ha: of any languages that have files.",
)
SPLIT = typer.Option("test", "--split", help="test or dev.")
LIMIT = typer.Option(
    None, "--limit", help="Only so many examples of every language, drawn at random."
)
BACKBONE = typer.Option(
    None,
    "--backbone",
    help="Whose module, where several backbones have one of that name; or where the backbone lies "
    "now, if it has moved.",
)
PRECISION = typer.Option("auto", "--precision", help="Of the frozen trunk: auto, bf16 or fp32.")
JSON = typer.Option(False, "--json", help="Print everything as JSON.")
