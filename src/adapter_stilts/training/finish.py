"""The end of a training: its record, and the module on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerState

from adapter_stilts.data.load import ExampleSet, resolve_where
from adapter_stilts.data.parts import given_files
from adapter_stilts.engine.composition import build_stack, calls, canonical
from adapter_stilts.engine.engine import module_parameters
from adapter_stilts.engine.native import is_in_head
from adapter_stilts.environment import made_here
from adapter_stilts.registered import Kind, Registered, additions
from adapter_stilts.tasks.registry import find_added, is_built_in, is_task_file
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.callbacks import place_of_best
from adapter_stilts.training.folders import discard, sweep
from adapter_stilts.training.job import Job
from adapter_stilts.training.recipe import as_json
from adapter_stilts.training.spec import Request
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.provenance import ASKED, majority, spec_entry, whole
from adapter_stilts.zoo.record import MULTITASK, NO_HEAD, ModuleRecord


def finish(job: Job, state: TrainerState, seconds: float, asked: Request) -> ModuleRecord:
    """Writes the module with its record and removes the checkpoints, in the first process."""
    record = make_record(job, state, seconds, asked.limits)
    record = dataclasses.replace(record, command=_command(asked))
    if PartialState().is_main_process:
        record = save_module(job.engine, record, job.tasks[0].task.head, asked.folder)
        discard(asked.work)
        sweep(asked.folder)
    PartialState().wait_for_everyone()
    return record


def make_record(
    job: Job, state: TrainerState, seconds: float, limits: Mapping[str, int]
) -> ModuleRecord:
    """What the module says of itself; `limits` are the numbers of examples asked for, by option."""
    key = f"eval_{job.metric}"
    scored = [entry for entry in state.log_history if key in entry]
    # Where the best step is not kept, the last is, or the mean with steps before it.
    best = place_of_best([entry[key] for entry in scored])
    kept = scored[best if job.recipe.keep == "best" else -1]
    scores = {k.removeprefix("eval_"): x for k, x in kept.items() if k.startswith("eval_")}
    on, mixture, start = job.spec.on, job.spec.mixture, job.spec.start
    threshold = None if mixture else scores.pop(THRESHOLD, None)
    return ModuleRecord(
        name=job.name,
        run=job.run,
        task=job.spec.name,
        head=MULTITASK if mixture else NO_HEAD if job.spec.text else job.tasks[0].task.head,
        method=job.recipe.method,
        composition=_composition(job),
        bases=on.bases if on else {},
        backbone=job.engine.identity,
        recipe=_recipe(job, limits),
        data=_data(job),
        scores=job.headline(scores),
        parameters=saved_size(job),
        steps=state.global_step,
        best_step=int(kept["step"]),
        planned_steps=state.max_steps,
        learning_curve=[
            {"step": float(entry["step"]), job.metric: float(entry[key])} for entry in scored
        ],
        # with what the stages took whose weights this one started from
        seconds=seconds + (ModuleRecord.read(start).seconds if start else 0.0),
        **made_here(),
        no_answer_threshold=threshold,
        heads=heads_entry(job, scores) if mixture else {},
        spec={} if mixture or job.spec.text else spec_entry(job.tasks[0].task),
    )


def _recipe(job: Job, limits: Mapping[str, int]) -> dict[str, Any]:
    """The recipe as it was followed, with all else that makes the module again."""
    entry: dict[str, Any] = {**as_json(job.recipe), "seed": job.seed, **limits}
    if job.spec.fresh_head:
        entry["fresh_head"] = True
    if job.spec.staged and job.asked:  # every stage has its own steps and rate
        entry[ASKED] = {"steps": job.asked.steps, "lr": job.asked.lr}
    if mixture := job.spec.mixture:
        entry["temperature"] = mixture.temperature
        entry["normalise_losses"] = mixture.normalise_losses
        if text := mixture.text:
            entry["mlm_text"] = str(text.folder.expanduser().absolute())
            entry["mlm_languages"] = [file.language for file in text.files]
            entry["mlm_share"] = text.share
    return entry


def _command(asked: Request) -> dict[str, Any]:
    """What a command names beside the recipe, the modules below and the numbers of examples.

    `tasks` is empty where there can be none: a script or a notebook has registered the task, its
    metric or the method, or nobody has registered a spec.
    """
    spec, options = asked.spec, asked.options
    if spec.text:
        return {"text": whole(spec.text)}
    names = spec.named or tuple(task.name for task in spec.tasks)
    plug_ins = {each.by for each in _registered(asked, names)}
    known = "" not in plug_ins and (bool(spec.head) or all(map(_is_known, spec.tasks, names)))
    where = resolve_where(options.data)
    files = options.files if spec.head else given_files(spec.tasks[0])
    entry: dict[str, Any] = {
        "head": spec.head,
        "data": where if where in ("hub", "sample") else whole(where),
        **{f"{split}_file": whole(path) for split, path in files.items() if path},
        "plugins": sorted(each for each in plug_ins if Path(each).is_absolute()),
        "packages": sorted(each for each in plug_ins if each and not Path(each).is_absolute()),
    }
    return {"tasks": list(names) * known, **{key: each for key, each in entry.items() if each}}


def _registered(asked: Request, names: Sequence[str]) -> Iterator[Registered]:
    """What the training uses that is none of the package's."""
    yield from filter(None, map(find_added, names))
    on = asked.spec.on
    used: dict[Kind, Iterable[str]] = {
        "metric": [task.metric for task in asked.spec.tasks],
        "adapter method": [asked.recipe.method, *(on.methods.values() if on else ())],
        "merge method": {each.operator for each in calls(on.expression)} if on else (),
    }
    for kind, called in used.items():
        yield from (additions(kind)[name] for name in called if name in additions(kind))


def _is_known(task: TaskSpec, name: str) -> bool:
    """Whether a command finds the task by that name."""
    return is_built_in(task) or is_task_file(name) or find_added(name) is not None


def _composition(job: Job) -> str:
    on = job.spec.on
    if on is None:
        return job.name
    return canonical(on.expression if job.spec.fuses else build_stack(on.expression, job.name))


def _data(job: Job) -> dict[str, Any]:
    """What it was trained and scored on; of several tasks, `heads_entry` has each one's."""
    first = job.tasks[0]
    if job.spec.mixture is None:
        parts = {"train": data_entry(first.train), "dev": dev_entry(first.dev, first.metric)}
        tags = {"tags": list(first.task.tags)} if first.task.own_tags else {}
        return {**parts, "labels": len(first.labels), "language": first.task.language, **tags}
    train = sum(len(each.train.examples) for each in job.tasks)
    dev = sum(len(each.dev.examples) for each in job.tasks)
    return {
        "train": {"origin": first.train.origin, "examples": train},
        "dev": {"origin": first.dev.origin, "examples": dev},
        "labels": 0,
        "language": first.task.language,
    }


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
    entries = {}
    for data, share in zip(job.tasks, job.shares, strict=False):
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
