"""The metadata of a module card: what the Hub searches by, and scores as it lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.substitute_data import licence_of, tasks_of

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


class _Score(EvalResult):
    """A score of one task, which stays apart from other tasks' scores on the same data set."""

    @property
    def unique_identifier(self) -> tuple[Any, ...]:
        """What scores of one entry of the metadata have in common: the task's title as well."""
        return (*super().unique_identifier, self.dataset_name)


def card_data(record: ModuleRecord, *, peft: bool) -> ModelCardData:
    """The metadata of a module's card.

    Args:
        peft: whether the folder has the module in peft's format, too.

    Raises:
        UserError: the record says too little of its task.
    """
    trained = not (record.language or record.merged)
    licence = {"license": "unknown"} if record.language else licence_metadata(licence_of(record))
    model = hub_id(record.backbone["name"])
    on_hub = "/" in model and not Path(model).exists()
    scores = [*_dev_scores(record), *_language_scores(record)]
    return ModelCardData(
        language=_languages(record),
        library_name="adapters",
        base_model=model if on_hub else None,
        base_model_relation="adapter" if on_hub else None,
        tags=_tags(record, peft=peft),
        pipeline_tag=None if record.heads else _pipeline(record.head),
        license=licence["license"],
        license_name=licence.get("license_name"),
        datasets=(_datasets(*tasks_of(record)) if trained else None) or None,
        model_name=record.name if scores else None,
        eval_results=scores or None,
    )


def licence_metadata(licence: str) -> dict[str, str]:
    """The Hub's fields for a licence; what has no name there is `other`."""
    known = _LICENCES.get(licence)
    if known:
        return {"license": known}
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": slug[:90].strip("-") or "unknown"}


def _pipeline(kind: str) -> str:
    """The Hub's name of a kind of head; of what has none, that of features."""
    return get_head(kind).pipeline if kind in KINDS else "feature-extraction"


def _languages(record: ModuleRecord) -> list[str]:
    """The Hub's codes: what it was trained in, and that it is for many."""
    own = str(record.data.get("language") or "en")
    return ["multilingual", own] if re.fullmatch("[a-z]{2,3}", own) else ["multilingual"]


def _tags(record: ModuleRecord, *, peft: bool) -> list[str]:
    """What it is searched by on the Hub: task and method among them."""
    found = ["adapters", "adapter-stilts", record.backbone.get("model_type", ""), record.method]
    found += ["peft", "lora"] if peft else []
    # The Hub has no such model: its own tag stands where others have their base model.
    found += list(record.heads)
    found += [f"backbone-{EMBEDDED}"] if record.backbone.get("name") == EMBEDDED else []
    found += [record.task, record.name, "merge" if record.merged else ""]
    return [tag for tag in found if tag]


def _datasets(*tasks: TaskSpec | TargetSpec) -> list[str]:
    """The data sets of tasks on the Hub, each once."""
    ids = [source.hub.id for task in tasks for source in task.sources if source.hub]
    return list(dict.fromkeys(ids))


def _dev_scores(record: ModuleRecord) -> Iterator[EvalResult]:
    """The score that counts, of each task; of masked words, all of them."""
    if record.language:
        for metric, value in record.scores.items():
            yield _Score(
                task_type="fill-mask",
                dataset_name=f"raw text ({record.language})",
                dataset_type="text",
                metric_type=metric,
                metric_value=round(float(value), 2),
            )
    elif not record.merged:
        for each in [record.at(task) for task in record.heads] or [record]:
            (task,) = tasks_of(each)
            metric, value = next(iter(each.scores.items()))
            yield _Score(
                task_type=_pipeline(each.head),
                dataset_name=task.title,
                dataset_type=next(iter(_datasets(task)), task.name),
                metric_type=metric,
                metric_value=round(float(value), 2),
            )


def _language_scores(record: ModuleRecord) -> Iterator[EvalResult]:
    """The scores of every target and language in which the module was evaluated."""
    for name, scores in record.evaluations.items():
        target = target_tasks().get(name)
        for language, metrics in scores.items():
            for metric, value in metrics.items():
                yield _Score(
                    task_type=_pipeline(target.head if target else record.head),
                    dataset_name=f"{target.title if target else name} ({language})",
                    dataset_type=next(iter(_datasets(target) if target else ()), name),
                    dataset_config=language,
                    dataset_split="test",
                    metric_type=metric,
                    metric_value=round(float(value), 2),
                )
