"""Parts of a module card: what may be done with it, where it works, how to make it again."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import EMBEDDED
from adapter_stilts.modules.composition import Call, canonical
from adapter_stilts.modules.composition_text import parse
from adapter_stilts.modules.methods import is_fusion
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord

PIPELINES = {
    "classification": "text-classification",
    "choice": "multiple-choice",
    "span": "question-answering",
    "tagging": "token-classification",
    "embedding": "sentence-similarity",
    NO_HEAD: "feature-extraction",
}
"""The Hub's names of the kinds of head."""

_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "BSD-2": "bsd-2-clause",
    "CC BY 2.0 FR": "cc-by-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-NC 4.0": "cc-by-nc-4.0",
    "CC BY-SA 3.0": "cc-by-sa-3.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "MIT": "mit",
}
"""The Hub's names of the licences that the tasks name."""

_MEANINGS = (
    ("NC", "It allows no commercial use: treat the weights as not for commercial use."),
    ("non-commercial", "Treat the weights as not for commercial use."),
    ("LDC", "It is for members and licensees only; the weights hold no text of it."),
    ("SA", "It asks that what is built on the data is shared under the same terms: so share the "
     "weights."),
    ("", "It asks for credit at most: name the data where you use the weights."),
)  # fmt: skip


def licences(tasks: list[TaskSpec]) -> str:
    """The licences of their data."""
    if len(tasks) == 1:
        return tasks[0].licence
    return "; ".join(f"{task.licence} ({task.name})" for task in tasks)


def licence_metadata(licence: str) -> dict[str, str]:
    """The Hub's fields for a licence; what has no name there is `other`."""
    known = _LICENCES.get(licence)
    if known:
        return {"license": known}
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": slug[:90].strip("-") or "unknown"}


def licence_text(licence: str) -> str:
    """What the licence of the data means for the weights."""
    meaning = next(text for mark, text in _MEANINGS if mark in licence)
    return (
        f"Data licence: {licence}. {meaning} Whether a licence of data binds weights trained on "
        "it differs by\ncountry; respect it when you share them. The backbone has a licence of "
        "its own."
    )


def languages(record: ModuleRecord) -> list[str]:
    """The Hub's codes: what it was trained in, and that it is for many."""
    own = str(record.data.get("language") or "en")
    return ["multilingual", own] if re.fullmatch("[a-z]{2,3}", own) else ["multilingual"]


def base_metadata(model: str) -> dict[str, str]:
    """The backbone, if it is on the Hub."""
    if "/" not in model or Path(model).exists():
        return {}
    return {"base_model": model, "base_model_relation": "adapter"}


def tags(record: ModuleRecord, *, peft: bool) -> list[str]:
    """What it is searched by on the Hub: task and method among them."""
    found = ["adapters", "adapter-stilts", record.backbone.get("model_type", ""), record.method]
    found += ["peft", "lora"] if peft else []
    # The Hub has no such model: its own tag stands where others have their base model.
    found += list(record.heads)
    found += [f"backbone-{EMBEDDED}"] if record.backbone.get("name") == EMBEDDED else []
    return list(dict.fromkeys(each for each in (*found, record.task, record.name) if each))


def languages_text(record: ModuleRecord) -> str:
    """Scores of every language in which the module was evaluated."""
    parts = []
    for task, scores in record.evaluations.items():
        metrics = list(dict.fromkeys(name for each in scores.values() for name in each))
        rows = [
            " | ".join([language, *(f"{each[m]:.2f}" if m in each else "" for m in metrics)])
            for language, each in scores.items()
        ]
        table = "\n".join(f"| {row} |" for row in rows)
        parts.append(
            f"## Scores on {task}, zero-shot\n\n| language | {' | '.join(metrics)} |\n"
            f"|{'---|' * (1 + len(metrics))}\n{table}\n\n"
        )
    return "".join(parts)


def evaluation_results(record: ModuleRecord) -> list[dict[str, Any]]:
    """The same scores as the Hub has them."""
    found = []
    for name, scores in record.evaluations.items():
        target = target_tasks().get(name)
        ids = [source.hub.id for source in target.sources if source.hub] if target else []
        for language, metrics in scores.items():
            dataset = {
                "name": f"{target.title if target else name} ({language})",
                "type": ids[0] if ids else name,
                "config": language,
                "split": "test",
            }
            values = [{"type": key, "value": round(each, 2)} for key, each in metrics.items()]
            if values:
                task = {"type": PIPELINES[target.head if target else record.head]}
                found.append({"task": task, "dataset": dataset, "metrics": values})
    return found


def size_text(folder: Path) -> str:
    """How much of a disk the weights take."""
    weights = [path for path in folder.glob("*.safetensors") if path.is_file()]
    total = sum(path.stat().st_size for path in weights)
    return f", {total / 1e6:.1f} MB on disk" if total else ""


def reproduce_text(record: ModuleRecord) -> str:
    """The one command that makes it again, where there is one."""
    command = _command(record)
    if not command:
        return ""
    return f"## Make it again\n\n```\n{shlex.join(command)}\n```\n\n"


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
    "lr",
    "batch_tokens",
    "accumulate",
    "max_length",
    "unfreeze",
    "reduction_factor",
    "rank",
    "alpha",
    "evaluations",
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
        if recipe.get(key) not in (None, "", 0, 0.0, "none"):
            found += [f"--{key.replace('_', '-')}", str(recipe[key])]
    language = str(record.data.get("language") or "en")
    if language != "en" and not record.language:
        found += ["--source-lang", language]
    if recipe.get("leave_out"):
        found += ["--leave-out", ",".join(map(str, recipe["leave_out"]))]
    return [*found, "--seed", str(recipe.get("seed", 0))]
