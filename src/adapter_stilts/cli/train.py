"""The commands that make a module: by training, by learning a fusion, or by merging others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapter_stilts.cli.options import (
    BACKBONE,
    JSON,
    TAGS,
    TASK,
    derived_options,
    json_of,
    one_task,
    training_options,
    with_options,
)
from adapter_stilts.cli.results import print_json
from adapter_stilts.errors import UserError
from adapter_stilts.heads import KINDS
from adapter_stilts.paths import from_here
from adapter_stilts.training.options import DataOptions, MergeOptions, MergeRequest, RunOptions

if TYPE_CHECKING:
    from adapter_stilts.training.run import Trained

_BACKBONES = "embedded (needs no Hub), xlm-roberta-large, xlm-roberta-base, a Hub id, or a folder."


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("train-adapter")(training_options(train_adapter))
    app.command("train-multitask")(training_options(train_multitask, DataOptions))
    app.command("train-target")(training_options(train_target))
    app.command("train-language")(training_options(train_language, RunOptions))
    app.command("fuse")(training_options(fuse))
    merging = derived_options(MergeOptions, MergeRequest, (MergeOptions,), without=("quiet",))
    app.command("merge")(with_options(merge, merge, merging))


def train_adapter(
    task: str | None = typer.Argument(
        None,
        help="anli-plus, mnli, qqp, squad, squad-v2, hellaswag, ccg, cosmos-qa or commonsense-qa.",
    ),
    task_file: str | None = TASK,
    head: str | None = typer.Option(
        None,
        "--head",
        help="In place of a task, with --train-file and --dev-file: what your own rows are for, "
        f"one of {', '.join(KINDS)}.",
    ),
    backbone: str = typer.Option("xlm-roberta-large", "--backbone", help=_BACKBONES),
    **options: Any,
) -> Any:
    """Train one module for one task on a frozen backbone."""
    from adapter_stilts.training import run

    named = None if head and not (task or task_file) else one_task(task, task_file)
    return run.train_adapter(named, head=head, backbone=backbone, **options)


def train_multitask(
    tasks: str = typer.Option(
        "all", "--tasks", help="all nine, or some with commas between, such as squad,mnli."
    ),
    temperature: float = typer.Option(
        2.0, help="Of the mixing: 1 goes by size, a high one makes all tasks alike."
    ),
    normalise_losses: bool = typer.Option(
        False, "--normalise-losses", help="Divide every loss by that of a guess."
    ),
    mlm_text: Path | None = typer.Option(
        None, help="Folder of .txt files, one a language: masked language modelling between tasks."
    ),
    mlm_share: float = typer.Option(0.2, help="Part of all batches that are of that text."),
    backbone: str = typer.Option("xlm-roberta-large", "--backbone", help=_BACKBONES),
    train_file: Path | None = typer.Option(None, hidden=True),
    dev_file: Path | None = typer.Option(None, hidden=True),
    test_file: Path | None = typer.Option(None, hidden=True),
    **options: Any,
) -> Any:
    """Train one module for several tasks, with a head for each."""
    if train_file or dev_file or test_file:
        raise UserError(
            "files of rows are of one task: write a task file for them (`adstilts task new`), and "
            "name it among --tasks, as in --tasks squad,my.yaml"
        )
    from adapter_stilts.training import run

    return run.train_multitask(
        tasks,
        temperature=temperature,
        normalise_losses=normalise_losses,
        mlm_text=mlm_text,
        mlm_share=mlm_share,
        backbone=backbone,
        **options,
    )


def train_target(
    task: str | None = typer.Argument(
        None, help="A target task, such as tydiqa; `adstilts tasks` lists."
    ),
    task_file: str | None = TASK,
    on: str = typer.Option(
        "none",
        "--on",
        help="What to stack the module on: a module such as squad, a composition, none, or "
        "'lang:*' (in quotes), the module of --source-lang.",
    ),
    fresh_head: bool = typer.Option(
        False, "--fresh-head", help="Do not start from the head of the module below."
    ),
    source_lang: str = typer.Option("en", help="Language of the training data."),
    tags: str | None = TAGS,
    backbone: str | None = typer.Option(
        None, "--backbone", help=f"{_BACKBONES} Default: that of --on, else xlm-roberta-large."
    ),
    **options: Any,
) -> Any:
    """Train a target task, by itself or stacked on what was learnt before."""
    from adapter_stilts.training import target

    return target.train_target(
        one_task(task, task_file),
        on=on,
        fresh_head=fresh_head,
        source_lang=source_lang,
        tags=tags,
        backbone=backbone,
        **options,
    )


def train_language(
    language: str = typer.Argument(..., help="Its code by ISO 639, such as sw."),
    text: Path = typer.Option(
        ..., "--text", help="UTF-8 text, a sentence or a paragraph a line: a file, or a folder."
    ),
    backbone: str = typer.Option("xlm-roberta-large", "--backbone", help=_BACKBONES),
    **options: Any,
) -> Any:
    """Train a module for a language on raw text: stack(lang:sw, squad) puts it below others.

    --method is invertible by default: a bottleneck adapter in every layer, and an invertible one
    at the embeddings.
    """
    from adapter_stilts.training import run

    return run.train_language(language, text, backbone=backbone, **options)


def fuse(
    sources: list[str] = typer.Argument(
        None, help='Two or more modules of one kind, or stacks of such: "stack(ccg, squad)".'
    ),
    every: bool = typer.Option(
        False, "--all", help="All modules of intermediate tasks in the zoo, of --method."
    ),
    target: str | None = typer.Option(
        None,
        "--target",
        "--task",
        help="The target task on whose English data the fusion is learnt, or its task file.",
    ),
    kind: str | None = typer.Option(
        None,
        "--kind",
        help="full, lean (default), shared (lean, one for all layers), uniform, arrow (of LoRAs).",
    ),
    fresh_head: bool = typer.Option(
        False, "--fresh-head", help="Do not start from the head of a source that suits the target."
    ),
    source_lang: str = typer.Option("en", help="Language of the training data."),
    tags: str | None = TAGS,
    backbone: str | None = BACKBONE,
    **options: Any,
) -> Any:
    """Learn a fusion: attention over modules, which stay as they are."""
    from adapter_stilts.training import target as targets

    if every == bool(sources):
        raise UserError("name two or more modules to fuse, or give --all")
    return targets.fuse(
        targets.ALL if every else sources,
        target,
        kind=kind,
        fresh_head=fresh_head,
        source_lang=source_lang,
        tags=tags,
        backbone=backbone,
        **options,
    )


def merge(
    sources: list[str] = typer.Argument(..., help="Two or more modules of one kind."),
    as_json: bool = JSON,
    **options: Any,
) -> None:
    """Merge modules into one, without training; --search finds the weights."""
    from adapter_stilts.training import merge as merging

    weights = options.pop("weights")
    options["weights"] = None if weights is None else _numbers(weights)
    _show(merging.merge(sources, **options, quiet=as_json), as_json=as_json)


def _show(made: Trained, *, as_json: bool) -> None:
    record = made.record
    if as_json:
        print_json(json_of(made), indent=None)
        return
    own = "no head" if record.head == "none" else f"{record.head} head"
    typer.echo(
        f"{record.name} = {record.merged['expression']}: {own}; {record.parameters:,} parameters"
    )
    if found := record.merged.get("search"):
        typer.echo(
            f"loss {found['loss_before']:.4f} -> {found['loss_after']:.4f} on {found['examples']} "
            f"examples of {found['target']}, {found['evaluations']} evaluations"
        )
        if found["loss_after"] > found["loss_before"]:
            typer.echo("(it rose: smaller weights do nearly as well, and large ones are penalised)")
    typer.echo(f"module: {from_here(made.path)}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"weights '{text}': numbers with commas between, such as 0.3,0.7") from None
