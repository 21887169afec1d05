"""What a record says of each of several tasks, and of how they were mixed."""

from __future__ import annotations

from typing import Any

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import module_parameters
from adapter_stilts.engine.native import is_in_head
from adapter_stilts.training.job import Job
from adapter_stilts.training.planning import source_shares
from adapter_stilts.training.spec import Mixture
from adapter_stilts.zoo.chance import majority
from adapter_stilts.zoo.known_task import spec_entry

THRESHOLD = "best_f1_threshold"
"""The dev score that is no score, but where a module of unanswerable questions had best say no."""


def data_entry(part: ExampleSet) -> dict[str, Any]:
    """Which examples."""
    return {
        "origin": part.origin,
        "fingerprint": part.fingerprint,
        "examples": len(part.examples),
        "parts": list(part.parts),
    }


def dev_entry(part: ExampleSet, metric: str) -> dict[str, Any]:
    """The same of dev data, and what the best constant guess reaches there, where there is one."""
    examples = part.examples
    if "label" in examples.column_names:
        return {**data_entry(part), "chance": {"accuracy": majority(examples["label"])}}
    if "answers" in examples.column_names:
        without = sum(not answers for answers in examples["answers"])
        if without:
            return {**data_entry(part), "chance": {metric: 100 * without / len(examples)}}
    return data_entry(part)


def heads_entry(job: Job, scores: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Every task by its name: its head, its part of the batches, its data and dev scores."""
    shares = source_shares(job)
    entries = {}
    for data, share in zip(job.tasks, shares, strict=False):
        start = f"{data.task.name}."
        own = {key.removeprefix(start): x for key, x in scores.items() if key.startswith(start)}
        threshold = own.pop(THRESHOLD, None)
        entries[data.task.name] = {
            "head": data.task.head,
            "labels": list(data.labels),
            "choices": data.task.choices,
            "max_length": data.max_length,
            "scores": own,
            "no_answer_threshold": threshold,
            "parameters": head_size(job, data.head),
            "share": round(float(share), 4),
            "spec": spec_entry(data.task),
            "train": data_entry(data.train),
            "dev": dev_entry(data.dev, data.metric),
        }
    return entries


def mixture_entry(mixture: Mixture) -> dict[str, Any]:
    """How the tasks were mixed, for the recipe of the record."""
    entry: dict[str, Any] = {
        "temperature": mixture.temperature,
        "normalise_losses": mixture.normalise_losses,
    }
    if mixture.text:
        entry["mlm_text"] = str(mixture.text.folder)
        entry["mlm_languages"] = [file.language for file in mixture.text.files]
        entry["mlm_share"] = mixture.text.share
    return entry


def head_size(job: Job, head: str) -> int:
    """Parameters of one head."""
    own = module_parameters(job.engine, job.name)
    return sum(p.numel() for key, p in own.items() if is_in_head(key, head))


def saved_size(job: Job) -> int:
    """Parameters of what is saved: the module and its heads, but not that for masked words."""
    own = sum(p.numel() for p in module_parameters(job.engine, job.name).values())
    if job.spec.text:
        return own - head_size(job, job.tasks[0].head)
    return own - (head_size(job, job.text[0].head) if job.text else 0)
