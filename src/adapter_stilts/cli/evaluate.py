"""`adstilts evaluate` and `adstilts explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.options import JSON, TASK, evaluation_options, flag, one_task
from adapter_stilts.cli.results import (
    Progress,
    print_json,
    print_note,
    print_table,
    show_evaluations,
    show_suite,
)
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.options import ExplanationOptions

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explain import ByLayer, Explanation
    from adapter_stilts.evaluation.suite import SuiteEvaluation
    from adapter_stilts.evaluation.summary import Evaluations

_OF_ONE_TASK: Mapping[str, Any] = {"langs": "all", "dev_file": None, "test_file": None}
PARTIAL = 3
"""Exit code where something that was asked for could not be evaluated, and the rest was."""


class InterruptedEvaluationError(Exception):
    """Ctrl-C: the message says how to go on."""

    exit_code = 130


@contextmanager
def keeps_languages() -> Iterator[None]:
    """Where languages are evaluated one after the other: Ctrl-C says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedEvaluationError(
            "interrupted: finished languages are kept, and the same command goes on with the others"
        ) from None


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("evaluate")(evaluation_options(evaluate))
    app.command("explain")(evaluation_options(explain, ExplanationOptions))


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
    suite: str | None = typer.Option(
        None, help="Instead of a task, all of a benchmark's: xtreme or xtreme-r."
    ),
    with_map: Path | None = typer.Option(
        None, help="For --suite: a YAML file with a line 'task: composition' for every task."
    ),
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """Try a module in many languages that it was not trained in.

    Predictions are kept, a file a language, in XTREME's format. A second call continues where the
    first one stopped. Exit code 3: the data lacks some of the languages; the others are done.
    """
    from adapter_stilts.evaluation.run import evaluate as run
    from adapter_stilts.evaluation.suite import evaluate_suite, read_map

    task = one_task(task, task_file) if task_file else task
    _check_asked(task, compositions, options, suite, with_map)
    found: Evaluations | SuiteEvaluation
    with keeps_languages(), Progress(quiet=as_json) as progress:
        options |= {"on_language": progress.language, "on_examples": progress.examples}
        if suite and with_map:
            own = {name: options[name] for name in options if name not in _OF_ONE_TASK}
            found = evaluate_suite(suite, read_map(with_map), on_task=progress.task, **own)
        else:
            found = run(str(task), compositions, **options)
    if task and options["langs"] == "all" and not as_json:
        _name_others(task, options)
    _show_scores(found, as_json=as_json)


def _name_others(task: str, options: Mapping[str, Any]) -> None:
    """A line on languages that are here and that `all` does not stand for."""
    from adapter_stilts.evaluation.data import other_languages, resolve_split
    from adapter_stilts.evaluation.options import Asked
    from adapter_stilts.evaluation.run import resolve_target

    asked = Asked(**options)
    target = resolve_target(task, asked)
    if others := other_languages(target, resolve_split(target, asked.split), asked.data):
        known = ",".join(others)
        typer.echo(f"there are files of {known}, too: --langs {known}, or all,{known}", err=True)


def _check_asked(
    task: str | None,
    compositions: list[str],
    options: Mapping[str, Any],
    suite: str | None,
    with_map: Path | None,
) -> None:
    """Refuses anything but either a task with compositions, or a suite with its map."""
    if suite is None and with_map is None:
        if not task or not compositions:
            raise UserError(
                "nothing to evaluate: name a task and give --with, or give --suite and --with-map"
            )
    elif task or compositions or suite is None or with_map is None:
        raise UserError("--suite and --with-map go together, without a task, --with or --langs")
    elif given := [name for name, usual in _OF_ONE_TASK.items() if options[name] != usual]:
        raise UserError(
            f"{flag(given[0])} is for one task: a suite has languages and files of its own"
        )


def _show_scores(found: Evaluations | SuiteEvaluation, *, as_json: bool) -> None:
    """Prints what came out, and exits with `PARTIAL` where that is not everything."""
    from adapter_stilts.evaluation.summary import Evaluations, group_seeds

    if isinstance(found, Evaluations):
        content: Any = [each.as_dict() for each in group_seeds(found)]
        partial = any(each.partial for each in found)
    else:
        content, partial = found.as_dict(), found.partial
    if as_json:
        print_json(content)
    elif isinstance(found, Evaluations):
        show_evaluations(found)
    else:
        show_suite(found)
    if partial:
        raise typer.Exit(PARTIAL)


SHOWN = 3
"""Of more languages, only the mean is shown layer by layer."""


def explain(
    composition: str = typer.Argument(
        ..., help='With a learnt fusion: its name, or as in "stack(fuse(mnli, squad), tydiqa)".'
    ),
    task: str | None = typer.Option(
        None, help="The target whose texts are read [the one the fusion was learnt on]."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Folder for explanation.json, .csv and .svg (a heat map)."
    ),
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """See which modules a fusion listens to, in every language and layer.

    Exit code 3: the data lacks some of the languages; the others are done.
    """
    from adapter_stilts.evaluation.explain import PICTURE, write_explanation
    from adapter_stilts.evaluation.explain import explain as run
    from adapter_stilts.paths import check_replaceable

    if out is not None:
        check_replaceable(out)  # before the work
    found = run(
        composition,
        task=task,
        on_language=None if as_json else lambda language: typer.echo(language, err=True),
        **options,
    )
    if out is not None:
        write_explanation(found, out)
    if as_json:
        print_json(found.as_dict())
    else:
        _show_attention(found)
        if out is not None:
            typer.echo(f"heat map: {out / PICTURE}")
    if found.missing:
        raise typer.Exit(PARTIAL)


def _show_attention(found: Explanation) -> None:
    typer.echo(
        f"{found.composition} on {found.task}, {found.split}: mean attention, {found.kind} fusion "
        "(entropy: 0 one source alone, 1 all alike)"
    )
    if len(found.weights) <= SHOWN:
        for language, weights in found.weights.items():
            typer.echo(f"\n{language}")
            _by_layer(found, weights, found.entropy[language])
    else:
        typer.echo(f"\nmean of {len(found.weights)} languages")
        _by_layer(found, found.average, found.average_entropy)
    typer.echo("\nmean of all layers")
    rows = [
        (language, *_cells(found, found.over_layers(language)), f"{entropy:.2f}")
        for language, entropy in found.entropy_over_layers.items()
    ]
    print_table(("language", *found.sources, "entropy"), rows)
    if found.missing:
        why = next(iter(found.missing.values()))
        print_note(f"left out, for want of data: {', '.join(found.missing)} ({why})")


def _by_layer(found: Explanation, weights: ByLayer, entropy: Mapping[int, float]) -> None:
    rows = [
        (str(layer), *_cells(found, weights[layer]), f"{entropy[layer]:.2f}")
        for layer in found.layers
    ]
    print_table(("layer", *found.sources, "entropy"), rows)


def _cells(found: Explanation, weights: Mapping[str, float]) -> list[str]:
    return [f"{weights[source]:.2f}" if source in weights else "-" for source in found.sources]
