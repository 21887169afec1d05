"""The options that every command that trains something shares."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from adapter_stilts.cli.show import scores_line
from adapter_stilts.errors import UserError

if TYPE_CHECKING:
    from adapter_stilts.training.run import Trained
    from adapter_stilts.training.seeds import Series
    from adapter_stilts.zoo.record import ModuleRecord

DATA = typer.Option(
    None,
    "--data",
    help="hub, sample (bundled), or a folder with the official files. Default: $ADSTILTS_DATA, "
    "else hub.",
)


TASK = typer.Option(
    None, "--task", metavar="FILE", help="In place of a name, a task file of your own (YAML)."
)


def one_task(named: str | None, file: str | None) -> str:
    """The task that is named, or that has a file.

    Raises:
        UserError: neither or both are given.
    """
    if named and file:
        raise UserError(f"'{named}' and --task {file}: name one task")
    if not (named or file):
        raise UserError("no task is named: `adstilts tasks` lists them, --task takes a task file")
    return str(named or file)


TAGS = typer.Option(
    None,
    "--tags",
    help="For tagging: a tag set of your own in place of the task's, as O,B-MISC,I-MISC.",
)


def _options(
    method: str | None = typer.Option(
        None,
        "--method",
        help="bottleneck (default), double-bottleneck, parallel-bottleneck, lora, lora-all, dora, "
        "ia3, invertible, double-invertible, or head (no module: a probe).",
    ),
    data: str | None = DATA,
    recipe: str = typer.Option(
        "default",
        "--recipe",
        help="default, top-down, demo, or a YAML file, such as the recipe.yaml beside a module; "
        "other options win over it.",
    ),
    epochs: float | None = typer.Option(
        None, help="Passes over the training data [3, or more until --min-steps; 25 at most]."
    ),
    steps: int | None = typer.Option(
        None, help="Optimizer steps, in however many passes; in place of --epochs."
    ),
    min_steps: int | None = typer.Option(
        None, help="Fewer optimizer steps only where --epochs or --steps ask for them [300]."
    ),
    lr: float | None = typer.Option(None, help="Peak learning rate."),
    batch_tokens: int | None = typer.Option(None, help="Padded tokens a batch at most."),
    accumulate: int | None = typer.Option(None, help="Batches per optimizer step."),
    max_length: int | None = typer.Option(None, help="Tokens a sequence at most."),
    unfreeze: str | None = typer.Option(
        None, help="top-down: lower layers start to learn later; none: all from the start."
    ),
    leave_out: str | None = typer.Option(
        None, help="Layers without a module, from 0 at the bottom, such as 0-5 or 0-5,11."
    ),
    reduction_factor: int | None = typer.Option(None, help="Hidden size over bottleneck size."),
    rank: int | None = typer.Option(None, help="Rank of a LoRA."),
    alpha: int | None = typer.Option(None, help="Alpha of a LoRA: its update counts alpha/rank."),
    evaluations: int | None = typer.Option(None, help="How often dev is scored."),
    keep: str | None = typer.Option(
        None, help="Weights to keep: best (by dev), last, or mean (of the last evaluations)."
    ),
    average_last: int | None = typer.Option(None, help="Evaluations that --keep mean averages."),
    patience: int | None = typer.Option(
        None, help="Evaluations without a better score before stopping; 0 never stops early."
    ),
    precision: str | None = typer.Option(None, help="Of the frozen trunk: auto, bf16 or fp32."),
    activations: str | None = typer.Option(
        None, help="kept, or recomputed: less memory, more time, the same result."
    ),
    seed: int = typer.Option(0, help="Of initial weights and order of examples."),
    seeds: str | None = typer.Option(
        None, help="Several, as 0,1,2: a module for each, NAME, NAME-s1 and NAME-s2."
    ),
    limit: int | None = typer.Option(
        None, help="Train on this many examples (of each task), drawn at random."
    ),
    dev_limit: int | None = typer.Option(None, help="Score on this many dev examples (of each)."),
    out: Path | None = typer.Option(
        None, "--out", help="Folder of the module [zoo/BACKBONE/NAME]."
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue an interrupted run."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what lies at --out."),
    skip_bad_rows: bool = typer.Option(
        False,
        "--skip-bad-rows",
        help="Leave out training rows that cannot be used, and say how many.",
    ),
    report_to: str = typer.Option("none", help="Tracker, such as tensorboard or wandb."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """Never called: its parameters are read."""


def training_options(
    command: Callable[..., Any], *, without: Sequence[str] = ()
) -> Callable[..., None]:
    """A command with its own parameters and the shared ones, which it gets as keywords.

    What it returns is printed, by the first process.
    """
    own = inspect.signature(command, eval_str=True).parameters
    hints = get_type_hints(_options)
    shared = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(_options).parameters.items()
        if name not in without
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        as_json = given.pop("as_json")
        if given["leave_out"] is not None:
            from adapter_stilts.training.recipe import parse_layers

            given["leave_out"] = parse_layers(given["leave_out"])
        seeds = given.pop("seeds")
        if seeds is None:
            show(command(**given, quiet=as_json), as_json=as_json)
            return
        from adapter_stilts.training.seeds import parse_seeds, train_seeds

        if given.pop("seed"):
            raise UserError("--seed and --seeds: give one of them")
        made = train_seeds(command, seeds=parse_seeds(seeds), **given, quiet=as_json)
        show_series(made, as_json=as_json)

    kept = [each for each in own.values() if each.kind is not each.VAR_KEYWORD]
    run.__signature__ = inspect.Signature([*kept, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*kept, *shared]}
    return run


def json_line(trained: Trained) -> str:
    """Where the module lies, and its whole record."""
    fields = {"path": str(trained.path), **asdict(trained.record)}
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def show_series(made: Series, *, as_json: bool) -> None:
    """Prints what came out of the trainings of several seeds, and mean ± standard deviation."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    if as_json:
        modules = [json.loads(json_line(each)) for each in made.trained.values()]
        scores = {metric: each.as_dict() for metric, each in made.scores.items()}
        fields = {"name": made.name, "seeds": list(made.trained), "scores": scores}
        typer.echo(json.dumps({**fields, "modules": modules}, ensure_ascii=False, allow_nan=False))
        return
    for each in made.trained.values():
        show(each, as_json=False)
    seeds = ", ".join(map(str, made.trained))
    scores_ = ", ".join(f"{metric} {each}" for metric, each in made.scores.items())
    typer.echo(f"{made.name}: dev {scores_} (mean ± sd of the seeds {seeds})")


def _early(record: ModuleRecord) -> str:
    if not record.stopped_early:
        return ""
    return f" (stopped early, {record.planned_steps} were planned)"


def show(trained: Trained, *, as_json: bool) -> None:
    """Prints what came out of a training."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    record = trained.record
    if as_json:
        typer.echo(json_line(trained))
        return
    typer.echo(
        f"{trained.path.name}: dev {scores_line(record.scores)} at step {record.best_step} of "
        f"{record.steps}{_early(record)}; {record.parameters:,} parameters; "
        f"{record.seconds:,.0f} s; peak memory {record.peak_memory_mb:,.0f} MB"
    )
    if record.heads:
        typer.echo(
            f"one module with {len(record.heads)} heads: {record.parameters:,} parameters; "
            f"{len(record.heads)} modules of one task each would have {record.parameters_apart:,}"
        )
    typer.echo(f"module: {trained.path}")
