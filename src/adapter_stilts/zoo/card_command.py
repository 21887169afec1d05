"""The one command that makes a module again."""

from __future__ import annotations

import shlex
from typing import Any

from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks
from adapter_stilts.zoo.known_task import is_own
from adapter_stilts.zoo.names import below
from adapter_stilts.zoo.record import RECIPE, ModuleRecord


def command_text(record: ModuleRecord, recipe: str = RECIPE) -> str:
    """The one command that makes a module again; an empty text where there is none.

    Args:
        recipe: where the module's recipe lies.
    """
    start = _start(record)
    return shlex.join([*start, "--recipe", recipe, *_options(record)]) if start else ""


def _start(record: ModuleRecord) -> list[str]:
    """The command without the settings."""
    if record.heads and not record.bases:
        start = ["adstilts", "train-multitask", "--tasks", ",".join(record.heads)]
        return [*start, *_mixture(record)]
    if record.language and not record.merged:
        return ["adstilts", "train-language", record.language, "--text", "TEXT"]
    own = f"{record.task}.yaml" if is_own(record) else ""
    target = own or _target(record.task)
    if is_fusion(record.method) and target:
        start = ["adstilts", "fuse", *record.bases, "--target", target]
        start += ["--kind", record.method.removeprefix("fusion-")]
    elif (own or record.task in intermediate_tasks()) and not record.bases:
        start = ["adstilts", "train-adapter", own or record.task]
    elif target:
        start = ["adstilts", "train-target", target]
        start += ["--on", base] if (base := below(record)) else []
    else:
        return []
    if record.recipe.get("fresh_head"):
        start += ["--fresh-head"]
    return start


def _mixture(record: ModuleRecord) -> list[str]:
    """How several tasks were mixed."""
    recipe, found = record.recipe, []
    if recipe.get("temperature"):
        found += ["--temperature", str(recipe["temperature"])]
    if recipe.get("normalise_losses"):
        found += ["--normalise-losses"]
    if recipe.get("mlm_text"):
        found += ["--mlm-text", "FOLDER_OF_THE_TEXT", "--mlm-share", str(recipe["mlm_share"])]
    return found


def _target(task: str) -> str:
    """The target that a record's task is a stage of."""
    return next(
        (name for name, each in target_tasks().items() if task in {s.name for s in each.training}),
        "",
    )


def _options(record: ModuleRecord) -> list[str]:
    """What a recipe does not say."""
    # A folder is somebody's own: its name says nothing to others.
    origins = [
        str(record.data[split].get("origin", "hub")) if split in record.data else "hub"
        for split in ("train", "dev")
    ]
    found = ["--backbone", record.backbone["name"]]
    if not record.language and not is_own(record):
        known = origins[1] in ("hub", "sample")
        found += ["--data", origins[1] if known else "FOLDER_OF_THE_DATA"]
        if origins[0] != origins[1]:
            found += ["--train-file", "FILE_OF_THE_ROWS"]
    language = str(record.data.get("language") or "en")
    if language != "en" and not record.language:
        found += ["--source-lang", language]
    if record.data.get("tags"):
        found += ["--tags", ",".join(map(str, record.data["tags"]))]
    for split, name in (("train", "limit"), ("dev", "dev_limit")):
        if number := record.recipe.get(name) or _drawn(record, split):
            found += [f"--{name.replace('_', '-')}", str(number)]
    if any(part.get("rows_bad") for part in _parts(record, "train")):
        found += ["--skip-bad-rows"]
    return [*found, "--seed", str(record.recipe.get("seed", 0))]


def _parts(record: ModuleRecord, split: str) -> list[dict[str, Any]]:
    """What was read of every source, of each task."""
    tasks = [head[split] for head in record.heads.values()] or [record.data[split]]
    return [part for task in tasks for part in task.get("parts", ())]


def _drawn(record: ModuleRecord, split: str) -> int:
    """How many examples were drawn, of each task, where the record does not say what was asked."""
    parts = [head[split] for head in record.heads.values()] or [record.data[split]]
    drawn = [
        int(part["examples"])
        for part in parts
        if sum(each.get("rows_kept", 0) for each in part.get("parts", ())) > part["examples"]
    ]
    return max(drawn, default=0)
