"""`adstilts compare` and `adstilts recommend`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.evaluate import PARTIAL, keeps_languages
from adapter_stilts.cli.options import (
    JSON,
    TASK,
    derived_options,
    evaluation_options,
    one_task,
    with_options,
)
from adapter_stilts.cli.results import Progress, print_json, print_note, print_table
from adapter_stilts.evaluation.options import ComparisonOptions
from adapter_stilts.study.recommend.recommendation import Asked, RecommendOptions

if TYPE_CHECKING:
    from adapter_stilts.study.compare import Comparison, TargetComparison
    from adapter_stilts.study.recommend.recommendation import Ranked, Recommendation, Rule
    from adapter_stilts.study.statistics.draws import Estimate


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    without = ("out", "tags", "overwrite")
    app.command("compare")(evaluation_options(compare, ComparisonOptions, without=without))
    own = ("rules", "on_step")
    options = derived_options(RecommendOptions, Asked, [RecommendOptions], without=own)
    app.command("recommend")(with_options(recommend, recommend, options))


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
        _show(found)
    if found.partial:
        raise typer.Exit(PARTIAL)


def _show(found: Comparison) -> None:
    typer.echo(f"A: {found.first}\nB: {found.second}")
    print_table(COLUMNS, list(comparison_rows(found)))
    for note in comparison_notes(found):
        typer.echo(note)
    typer.echo(found.answer)


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
    from adapter_stilts.study.recommend.recommender import recommend as run

    found = run(
        one_task(target, task_file),
        modules=modules,
        rules=by,
        on_step=None if as_json else lambda what: typer.echo(what, err=True),
        **options,
    )
    if as_json:
        print_json(found.as_dict())
        return
    print_note(found.answer)
    print_table(recommendation_columns(found), list(recommendation_rows(found)), spare=("seconds",))
    for note in recommendation_notes(found):
        print_note(note)


COLUMNS = ("on", "A", "B", "A - B", "interval", "effect")


def comparison_rows(found: Comparison) -> Iterator[tuple[str, ...]]:
    """A row a language, one a target, and one for the mean of several targets."""
    for name, target in found.targets.items():
        for language, each in target.languages.items():
            scores = (f"{score:.1f}" for score in target.scores[language])
            mark = "helped" if language in target.helped else ""
            mark = "hurt" if language in target.hurt else mark
            yield (f"{name} {language}", *scores, *_cells(each), mark)
        yield (f"{name}, {target.count}", *_means(target), *_cells(target.estimate), "")
    if len(found.targets) > 1:
        yield (f"{len(found.targets)} targets", "", "", *_cells(found.overall), "")


def comparison_notes(found: Comparison) -> Iterator[str]:
    """What the table does not say by itself."""
    for name, target in found.targets.items():
        yield (
            f"{name}, {target.metric}: helped in at least {target.helped_at_least} and hurt in at "
            f"least {target.hurt_at_least} of {target.count}"
        )
        if max(target.seeds) == 1:
            yield f"{name}: one seed each, so the interval is that of these modules alone"
        elif min(target.seeds) == 1:
            yield f"{name}: one of them has a single seed, whose luck no interval shows"
        if target.missing:
            why = next(iter(target.missing.values()))
            yield f"{name}: not compared: {', '.join(target.missing)} ({why})"


def _means(target: TargetComparison) -> tuple[str, str]:
    count = len(target.scores)
    first, second = (sum(each[k] for each in target.scores.values()) / count for k in range(2))
    return f"{first:.1f}", f"{second:.1f}"


def _cells(each: Estimate) -> tuple[str, str]:
    return f"{each.value:+.1f}", f"{each.low:+.1f} to {each.high:+.1f}"


_TITLES: Mapping[Rule, str] = {"logme": "LogME", "text": "text", "parameters": "weights"}


def recommendation_columns(found: Recommendation) -> tuple[str, ...]:
    """What the columns are called."""
    rules = (_TITLES[rule] for rule in _rules(found))
    probe = (f"dev at {steps}" for steps in _steps(found))
    return ("module", *rules, "mean rank", "first", "place", *probe, "seconds")


def recommendation_rows(found: Recommendation) -> Iterator[tuple[str, ...]]:
    """A row a module, the best one first."""
    for each in found.modules:
        rules = (
            f"{each.scores[rule]:.3f}" if rule in each.scores else "-" for rule in _rules(found)
        )
        yield (
            each.module,
            *rules,
            f"{each.mean_rank:.1f}",
            f"{100 * each.first:.0f}%",
            _place(each),
            *(
                f"{each.probe[steps]:.1f}" if steps in each.probe else "-"
                for steps in _steps(found)
            ),
            f"{each.seconds:.0f}",
        )


def recommendation_notes(found: Recommendation) -> Iterator[str]:
    """What the table does not say by itself."""
    spent = ", ".join(f"{rule} {seconds:.0f}" for rule, seconds in found.seconds.items())
    yield (
        f"{found.examples} examples; first and place (95 %) over {found.draws} draws of half of "
        f"them; seconds: {spent}"
    )
    if any("parameters" in each.scores for each in found.modules):
        yield "weights: of one short training, the same in all draws"
    if found.above_plain is not None:
        yield (
            f"LogME of the backbone alone: {found.plain:.3f}; modules above it: "
            f"{found.above_plain} of {len(found.modules)}"
        )
    for what, why in found.silent.items():
        yield f"{what}: not known ({why})"


def _rules(found: Recommendation) -> list[Rule]:
    return [rule for rule in _TITLES if any(rule in each.scores for each in found.modules)]


def _steps(found: Recommendation) -> list[int]:
    return sorted({steps for each in found.modules for steps in each.probe})


def _place(each: Ranked) -> str:
    return str(each.low) if each.low == each.high else f"{each.low}-{each.high}"
