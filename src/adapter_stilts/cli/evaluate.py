"""`adstilts evaluate`, `explain`, `compare` and `recommend`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.options import (
    JSON,
    TASK,
    derived_options,
    evaluation_options,
    flag,
    one_task,
    with_options,
)
from adapter_stilts.cli.results import (
    Progress,
    print_json,
    print_note,
    print_table,
    show_evaluations,
    show_suite,
)
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.options import ComparisonOptions, ExplanationOptions
from adapter_stilts.study.recommendation import Asked, RecommendOptions

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explain import ByLayer, Explanation
    from adapter_stilts.evaluation.run import Evaluations
    from adapter_stilts.evaluation.suite import SuiteEvaluation
    from adapter_stilts.study.compare import Comparison
    from adapter_stilts.study.draws import Estimate
    from adapter_stilts.study.recommendation import Recommendation, Rule

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
    without = ("out", "tags", "overwrite")
    app.command("compare")(evaluation_options(compare, ComparisonOptions, without=without))
    own = ("rules", "on_step")
    options = derived_options(RecommendOptions, Asked, [RecommendOptions], without=own)
    app.command("recommend")(with_options(recommend, recommend, options))


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
    from adapter_stilts.evaluation.run import Evaluations, group_seeds

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


if TYPE_CHECKING:
    from adapter_stilts.study.compare import Comparison
    from adapter_stilts.study.draws import Estimate
    from adapter_stilts.study.recommendation import Recommendation, Rule


def compare(
    first: str = typer.Argument(help='A composition, such as "stack(squad, tydiqa)".'),
    second: str = typer.Argument(help="Another one; tydiqa-s* is all seeds of tydiqa."),
    on: str = typer.Option(..., "--on", help="Target tasks with commas between: xnli,tydiqa."),
    random_languages: bool = typer.Option(
        False, "--random-languages", help="The languages stand for others: draw them anew, too."
    ),
    draws: int = typer.Option(2000, "--draws", help="The number of draws of the bootstrap."),
    level: float = typer.Option(0.95, "--level", help="The confidence level of the interval."),
    picture: Path | None = typer.Option(
        None, "--picture", "--out", help="Draw it: a file name.svg, .png or .pdf."
    ),
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """Say by how much one composition is better than another, with an interval.

    Both are evaluated first, unless they are already. Exit code 3: some languages could not be
    compared.
    """
    from adapter_stilts.display import check_picture
    from adapter_stilts.study.compare import compare as run

    if picture is not None:
        check_picture(picture)  # before the work
    with keeps_languages(), Progress(quiet=as_json) as progress:
        options |= {"on_language": progress.language, "on_examples": progress.examples}
        found = run(
            first,
            second,
            on=on,
            random_languages=random_languages,
            draws=draws,
            level=level,
            **options,
        )
    if picture is not None:
        found.plot().save(picture)
    if as_json:
        print_json(found.as_dict())
    else:
        _show_comparison(found)
    if found.partial:
        raise typer.Exit(PARTIAL)


def _show_comparison(found: Comparison) -> None:
    """A row a language, one a target, one for the mean of several; then what they do not say."""
    rows = []
    for name, target in found.targets.items():
        for language, each in target.languages.items():
            scores = (f"{score:.1f}" for score in target.scores[language])
            mark = "helped" if language in target.helped else ""
            mark = "hurt" if language in target.hurt else mark
            rows.append((f"{name} {language}", *scores, *_difference(each), mark))
        means = (f"{fmean(side):.1f}" for side in zip(*target.scores.values(), strict=True))
        rows.append((f"{name}, {target.count}", *means, *_difference(target.estimate), ""))
    if len(found.targets) > 1:
        rows.append((f"{len(found.targets)} targets", "", "", *_difference(found.overall), ""))
    typer.echo(f"A: {found.first}\nB: {found.second}")
    print_table(("on", "A", "B", "A - B", "interval", "effect"), rows)
    for name, target in found.targets.items():
        helped, hurt = target.at_least
        typer.echo(
            f"{name}, {target.metric}: helped in at least {helped} and hurt in at least {hurt} of "
            f"{target.count}"
        )
        if max(target.seeds) == 1:
            typer.echo(f"{name}: one seed each, so the interval is that of these modules alone")
        elif min(target.seeds) == 1:
            typer.echo(f"{name}: one of them has a single seed, whose luck no interval shows")
        if target.missing:
            why = next(iter(target.missing.values()))
            typer.echo(f"{name}: not compared: {', '.join(target.missing)} ({why})")
    typer.echo(found.answer)


def _difference(each: Estimate) -> tuple[str, str]:
    return f"{each.value:+.1f}", f"{each.low:+.1f} to {each.high:+.1f}"


def recommend(
    target: str | None = typer.Argument(
        None, help="A target task with training data, such as tydiqa; or a task file."
    ),
    task_file: str | None = TASK,
    modules: list[str] = typer.Option(
        [],
        "--with-from",
        "--modules",
        help="Modules to rank, or a folder of some; may be repeated [one a task of the zoo].",
    ),
    by: str = typer.Option(
        "logme,text,parameters", "--by", "--rules", help="The rules whose ranks are averaged."
    ),
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """Predict on which module a target is learnt best, before any training on them."""
    from adapter_stilts.study.recommender import recommend as run

    found = run(
        one_task(target, task_file),
        modules=modules,
        rules=by,
        on_step=None if as_json else lambda what: typer.echo(what, err=True),
        **options,
    )
    if as_json:
        print_json(found.as_dict())
    else:
        _show_recommendation(found)


_TITLES: Mapping[Rule, str] = {"logme": "LogME", "text": "text", "parameters": "weights"}


def _show_recommendation(found: Recommendation) -> None:
    """A row a module, the best one first; then what the table does not say by itself."""
    rules = [rule for rule in _TITLES if any(rule in each.scores for each in found.modules)]
    probed = sorted({steps for each in found.modules for steps in each.probe})
    rows = [
        (
            each.module,
            *(f"{each.scores[rule]:.3f}" if rule in each.scores else "-" for rule in rules),
            f"{each.mean_rank:.1f}",
            f"{100 * each.first:.0f}%",
            str(each.low) if each.low == each.high else f"{each.low}-{each.high}",
            *(f"{each.probe[steps]:.1f}" if steps in each.probe else "-" for steps in probed),
            f"{each.seconds:.0f}",
        )
        for each in found.modules
    ]
    probes = (f"dev at {steps}" for steps in probed)
    titles = (_TITLES[rule] for rule in rules)
    columns = ("module", *titles, "mean rank", "first", "place", *probes, "seconds")
    print_note(found.answer)
    print_table(columns, rows, spare=("seconds",))
    spent = ", ".join(f"{rule} {seconds:.0f}" for rule, seconds in found.seconds.items())
    print_note(
        f"{found.examples} examples; first and place (95 %) over {found.draws} draws of half of "
        f"them; seconds: {spent}"
    )
    if "parameters" in rules:
        print_note("weights: of one short training, the same in all draws")
    if found.above_plain is not None:
        print_note(
            f"LogME of the backbone alone: {found.plain:.3f}; modules above it: "
            f"{found.above_plain} of {len(found.modules)}"
        )
    for what, why in found.silent.items():
        print_note(f"{what}: not known ({why})")
