"""`adstilts evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli import evaluation_options as common
from adapter_stilts.cli.results import Progress, show_evaluations, show_suite
from adapter_stilts.cli.training_options import DATA, TAGS, TASK, one_task
from adapter_stilts.errors import UserError

if TYPE_CHECKING:
    from adapter_stilts.evaluation.suite import SuiteEvaluation
    from adapter_stilts.evaluation.summary import Evaluation

PARTIAL = 3
"""Exit code where something that was asked for could not be evaluated, and the rest was."""


class InterruptedEvaluationError(Exception):
    """Ctrl-C: the message says how to go on."""

    exit_code = 130


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    task: str | None = typer.Argument(
        None, help="A target task, such as tydiqa; `adstilts tasks` lists them."
    ),
    task_file: str | None = TASK,
    compositions: list[str] = typer.Option(
        [],
        "--with",
        metavar="COMPOSITION",
        help='A module such as tydiqa, or several as in "stack(squad, tydiqa)". Repeat it to '
        'compare; for retrieval, none is the plain backbone. In "stack(lang:*, squad)", every '
        "language has its own module.",
    ),
    langs: str = common.LANGS,
    split: str = common.SPLIT,
    suite: str | None = typer.Option(
        None, help="Instead of a task, all of a benchmark's: xtreme or xtreme-r."
    ),
    with_map: Path | None = typer.Option(
        None, help="For --suite: a YAML file with a line 'task: composition' for every task."
    ),
    data: str | None = DATA,
    out: Path | None = typer.Option(
        None, "--out", help="Folder of the predictions [predictions/BACKBONE/COMPOSITION]."
    ),
    limit: int | None = common.LIMIT,
    tags: str | None = TAGS,
    backbone: str | None = common.BACKBONE,
    precision: str = common.PRECISION,
    batch_tokens: int | None = typer.Option(
        None, help="Padded tokens a batch at most [2048 on a CPU, 32768 on a GPU]."
    ),
    layer: int | None = typer.Option(
        None,
        help="For retrieval: the layer that sentence vectors come from [chosen on dev data, or "
        "by a rule where there is none].",
    ),
    pooling: str = typer.Option("mean", help="For retrieval: mean, first or max of the tokens."),
    layer_from: str | None = typer.Option(
        None, help="For retrieval: a task on whose dev data the layer is chosen, as bucc2018."
    ),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Compute everything anew, and replace what lies at --out."
    ),
    as_json: bool = common.JSON,
) -> None:
    """Try a module in many languages that it was not trained in.

    Predictions are kept, a file a language, in XTREME's format. A second call continues where the
    first one stopped. Exit code 3: the data lacks some of the languages; the others are done.
    """
    from adapter_stilts.evaluation.run import evaluate as run
    from adapter_stilts.evaluation.suite import evaluate_suite, read_map

    options: dict[str, Any] = {
        "split": split,
        "data": data,
        "out": out,
        "backbone": backbone,
        "limit": limit,
        "tags": tags,
        "precision": precision,
        "batch_tokens": batch_tokens,
        "layer": layer,
        "pooling": pooling,
        "layer_from": layer_from,
        "overwrite": overwrite,
    }
    options = {key: value for key, value in options.items() if value is not None}
    task = one_task(task, task_file) if task_file else task
    _check_asked(task, compositions, langs, suite, with_map)
    found: list[Evaluation] | SuiteEvaluation
    try:
        with Progress(quiet=as_json) as progress:
            options |= {"on_language": progress.language, "on_examples": progress.examples}
            if suite and with_map:
                mapped = read_map(with_map)
                found = evaluate_suite(suite, mapped, on_task=progress.task, **options)
            else:
                found = run(str(task), compositions=compositions, langs=langs, **options)
    except KeyboardInterrupt:
        raise InterruptedEvaluationError(
            "interrupted: finished languages are kept, and the same command goes on with the others"
        ) from None
    if task and langs == "all" and not as_json:
        _name_others(task, split, data)
    _show(found, as_json=as_json)


def _name_others(task: str, split: str, data: str | None) -> None:
    """A line on languages that are here and that `all` does not stand for."""
    from adapter_stilts.evaluation.data import asked_split, other_languages
    from adapter_stilts.tasks.registry import get_target

    target = get_target(task)
    if others := other_languages(target, asked_split(target, split), data):
        known = ",".join(others)
        typer.echo(f"there are files of {known}, too: --langs {known}, or all,{known}", err=True)


def _check_asked(
    task: str | None, compositions: list[str], langs: str, suite: str | None, with_map: Path | None
) -> None:
    """Refuses anything but either a task with compositions, or a suite with its map."""
    if suite is None and with_map is None:
        if not task or not compositions:
            raise UserError(
                "nothing to evaluate: name a task and give --with, or give --suite and --with-map"
            )
    elif task or compositions or langs != "all" or suite is None or with_map is None:
        raise UserError("--suite and --with-map go together, without a task, --with or --langs")


def _show(found: list[Evaluation] | SuiteEvaluation, *, as_json: bool) -> None:
    """Prints what came out, and exits with `PARTIAL` where that is not everything."""
    from adapter_stilts.evaluation.seeds import grouped

    if isinstance(found, list):
        content: Any = [each.as_dict() for each in grouped(found)]
        partial = any(each.partial for each in found)
    else:
        content, partial = found.as_dict(), found.partial
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False))
    elif isinstance(found, list):
        show_evaluations(found)
    else:
        show_suite(found)
    if partial:
        raise typer.Exit(PARTIAL)
