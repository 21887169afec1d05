"""Options of the commands that read texts in many languages: evaluate and explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from adapter_stilts.cli.derived_options import derived_options, with_options
from adapter_stilts.evaluation.options import (
    Asked,
    ComparisonOptions,
    EvaluationOptions,
    SuiteOptions,
)

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
_PYTHON_ONLY = ("flat", "on_language", "on_examples", "engines", "layer_rule")


def evaluation_options(
    command: Callable[..., Any], options: type = EvaluationOptions, *, without: Sequence[str] = ()
) -> Callable[..., None]:
    """A command with its own parameters and those of `evaluate`, which it gets as keywords.

    Args:
        options: the `TypedDict` of the options that the function takes.
        without: those that the command has no use for.
    """
    about = (SuiteOptions, ComparisonOptions, EvaluationOptions)
    added = derived_options(options, Asked, about, without=(*_PYTHON_ONLY, *without))
    return with_options(command, command, added)
