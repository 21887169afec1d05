"""The one command that makes a module again."""

from __future__ import annotations

import shlex
from typing import Any

from adapter_stilts.modules.composition import Call, canonical
from adapter_stilts.modules.composition_text import parse
from adapter_stilts.modules.methods import is_fusion
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks
from adapter_stilts.zoo.record import ModuleRecord


def reproduce_text(record: ModuleRecord) -> str:
    """The one command that makes it again, where there is one."""
    command = command_text(record)
    return f"## Make it again\n\n```\n{command}\n```\n\n" if command else ""


def command_text(record: ModuleRecord) -> str:
    """That command, or an empty text."""
    return shlex.join(_command(record))


def _command(record: ModuleRecord) -> list[str]:
    if record.heads and not record.bases:
        start = ["adstilts", "train-multitask", "--tasks", ",".join(record.heads)]
        return [*start, "--method", record.method, *_options(record)]
    if record.language and not record.merged:
        start = ["adstilts", "train-language", record.language, "--text", "TEXT"]
        return [*start, "--method", record.method, *_options(record)]
    target = _target(record.task)
    if is_fusion(record.method) and target:
        start = ["adstilts", "fuse", *record.bases, "--target", target]
        start += ["--kind", record.method.removeprefix("fusion-")]
    elif record.task in intermediate_tasks() and not record.bases:
        start = ["adstilts", "train-adapter", record.task, "--method", record.method]
    elif target:
        start = ["adstilts", "train-target", target, "--method", record.method]
        start += ["--on", below] if (below := _below(record)) else []
    else:
        return []
    return [*start, *_options(record)]


def _target(task: str) -> str:
    """The target that a record's task is a stage of."""
    return next(
        (name for name, each in target_tasks().items() if task in {s.name for s in each.training}),
        "",
    )


def _below(record: ModuleRecord) -> str:
    """What the module was trained on top of."""
    if not record.bases:
        return ""
    expression = parse(record.composition)
    assert isinstance(expression, Call)
    parts = expression.parts[:-1]
    return canonical(parts[0] if len(parts) == 1 else Call("stack", parts))


_FLAGS = (
    "epochs",
    "steps",
    "min_steps",
    "lr",
    "batch_tokens",
    "accumulate",
    "max_length",
    "unfreeze",
    "reduction_factor",
    "rank",
    "alpha",
    "evaluations",
    "keep",
    "average_last",
    "patience",
    "precision",
)
"""The recipe's settings that the command line has options for."""


def _options(record: ModuleRecord) -> list[str]:
    recipe: dict[str, Any] = record.recipe
    # A folder is somebody's own: its name says nothing to others.
    origin = str(record.data["train"].get("origin", "hub"))
    data = origin if origin in ("hub", "sample") else "FOLDER_OF_THE_DATA"
    found = ["--backbone", record.backbone["name"]]
    found += [] if record.language else ["--data", data]
    for key in _FLAGS:
        # Elsewhere 0 leaves a value to the method; patience 0 is never to stop early.
        if recipe.get(key) not in (None, "", 0, "none") or (key == "patience" and key in recipe):
            found += [f"--{key.replace('_', '-')}", str(recipe[key])]
    language = str(record.data.get("language") or "en")
    if language != "en" and not record.language:
        found += ["--source-lang", language]
    if record.data.get("tags"):
        found += ["--tags", ",".join(map(str, record.data["tags"]))]
    if recipe.get("leave_out"):
        found += ["--leave-out", ",".join(map(str, recipe["leave_out"]))]
    found += _limit(record, "train", "--limit") + _limit(record, "dev", "--dev-limit")
    if any(part.get("rows_bad") for part in _parts(record, "train")):
        found += ["--skip-bad-rows"]
    return [*found, "--seed", str(recipe.get("seed", 0))]


def _parts(record: ModuleRecord, split: str) -> list[dict[str, Any]]:
    """What was read of every source, of each task."""
    tasks = [head[split] for head in record.heads.values()] or [record.data[split]]
    return [part for task in tasks for part in task.get("parts", ())]


def _limit(record: ModuleRecord, split: str, flag: str) -> list[str]:
    """How many examples were drawn, of each task, where that is fewer than there were."""
    parts = [head[split] for head in record.heads.values()] or [record.data[split]]
    drawn = {
        part["examples"]
        for part in parts
        if sum(each.get("rows_kept", 0) for each in part.get("parts", ())) > part["examples"]
    }
    return [flag, str(drawn.pop())] if len(drawn) == 1 else []
