"""`adstilts train-adapter`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import typer

from adapter_stilts.cli.show import scores_line

BACKBONE = typer.Option(
    "xlm-roberta-large",
    "--backbone",
    help="embedded (needs no Hub), xlm-roberta-large, xlm-roberta-base, a Hub id, or a folder.",
)
DATA = typer.Option(
    None,
    "--data",
    help="hub, sample (bundled), or a folder with the official files. Default: $ADSTILTS_DATA, "
    "else hub.",
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train-adapter")(train_adapter)


def train_adapter(
    task: str = typer.Argument(
        ...,
        help="anli-plus, mnli, qqp, squad, squad-v2, hellaswag, ccg, cosmos-qa or commonsense-qa.",
    ),
    method: str | None = typer.Option(
        None,
        "--method",
        help="bottleneck (default), double-bottleneck, parallel-bottleneck, lora, lora-all, dora, "
        "ia3, or head (no module: a probe).",
    ),
    backbone: str = BACKBONE,
    data: str | None = DATA,
    recipe: str = typer.Option(
        "default", "--recipe", help="default, top-down, demo, or a YAML file."
    ),
    epochs: float | None = typer.Option(None, help="Passes over the training data."),
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
    patience: int | None = typer.Option(
        None, help="Evaluations without a better score before stopping; 0 never stops early."
    ),
    precision: str | None = typer.Option(None, help="Of the frozen trunk: auto, bf16 or fp32."),
    seed: int = typer.Option(0, help="Of initial weights and order of examples."),
    limit: int | None = typer.Option(None, help="Train on this many examples, drawn at random."),
    dev_limit: int | None = typer.Option(None, help="Score on this many dev examples."),
    out: Path | None = typer.Option(
        None, "--out", help="Folder of the module [zoo/BACKBONE/TASK]."
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue an interrupted run."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what lies at --out."),
    report_to: str = typer.Option("none", help="Tracker, such as tensorboard or wandb."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """Train one module for one task on a frozen backbone."""
    from accelerate import PartialState

    from adapter_stilts.training import run
    from adapter_stilts.training.recipe import parse_layers

    trained = run.train_adapter(
        task,
        backbone=backbone,
        data=data,
        recipe=recipe,
        seed=seed,
        limit=limit,
        dev_limit=dev_limit,
        out=out,
        resume=resume,
        overwrite=overwrite,
        report_to=report_to,
        quiet=as_json,
        method=method,
        epochs=epochs,
        lr=lr,
        batch_tokens=batch_tokens,
        accumulate=accumulate,
        max_length=max_length,
        unfreeze=unfreeze,
        leave_out=parse_layers(leave_out) if leave_out is not None else None,
        reduction_factor=reduction_factor,
        rank=rank,
        alpha=alpha,
        evaluations=evaluations,
        patience=patience,
        precision=precision,
    )
    if not PartialState().is_main_process:
        return
    record = trained.record
    if as_json:
        fields = {"path": str(trained.path), **dataclasses.asdict(record)}
        typer.echo(json.dumps(fields, ensure_ascii=False))
        return
    typer.echo(
        f"{record.name}: dev {scores_line(record.scores)} at step {record.best_step} of "
        f"{record.steps}; {record.parameters:,} parameters; {record.seconds:,.0f} s; peak memory "
        f"{record.peak_memory_mb:,.0f} MB"
    )
    typer.echo(f"module: {trained.path}")
