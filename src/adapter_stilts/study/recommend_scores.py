"""What every rule of a recommendation says of the modules."""

from __future__ import annotations

import logging
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.errors import FailureError, InterruptedTrainingError, UserError
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding
from adapter_stilts.study.recommend_rules import (
    Product,
    group_means,
    half_samples,
    labelled_rows,
    parameter_similarity,
    sequences_of,
    text_similarity,
)
from adapter_stilts.study.recommendation import Asked, Rule
from adapter_stilts.study.sample import Bools, Floats
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.zoo.provenance import task_of
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

if TYPE_CHECKING:
    from adapter_stilts.engine.engine import Engine


@dataclass(frozen=True)
class Candidate:
    """A composition that a target could be trained on; `given` is what finds it."""

    given: str
    resolved: ResolvedComposition

    @property
    def name(self) -> str:
        """What it is called."""
        return self.resolved.name

    @property
    def task(self) -> str:
        """What its topmost module has learnt."""
        return self.resolved.record.task

    @property
    def method(self) -> str:
        """Of its topmost module; a target's module on top of it is of the same."""
        return self.resolved.record.method


PROBE_STEPS = 30
"""Of the training whose parameters are compared, and of the first round of `--probe`."""


@dataclass
class Work:
    """What all rules need, and what they leave: the seconds they took, why they say nothing."""

    asked: Asked
    target: TargetSpec
    stage: TaskSpec
    read: ExampleSet
    candidates: Sequence[Candidate]
    place: str
    engine: Engine
    plain: float | None = None
    silent: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    own: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def tell(self, what: str) -> None:
        """Says what is being done to who wants to know."""
        if self.asked.on_step is not None:
            self.asked.on_step(what)

    @contextmanager
    def measure_time(self, rule: str, module: str = "") -> Iterator[None]:
        """Adds the time of the block to a rule's, and to a module's own."""
        start = perf_counter()
        yield
        spent = perf_counter() - start
        self.seconds[rule] += spent
        if module:
            self.own[module] += spent

    @property
    def batch_tokens(self) -> int:
        """Padded tokens a batch at most."""
        from adapter_stilts.inference.predictions import default_batch_tokens

        return default_batch_tokens(self.engine.device)


Scores = Callable[[Bools | None, int], list[float | None]]
"""A rule's score of every candidate over some of the examples (None: all), in draw number n."""


def _logme(work: Work) -> Scores:
    """LogME over the states that every module gives the target's examples."""
    from adapter_stilts.zoo.local import load_resolved

    rows = labelled_rows(
        work.stage.head, feature_columns(work.engine, work.stage, work.read), seed=work.asked.seed
    )
    every = np.ones(len(work.read.examples), dtype=bool)
    if rows is None or not rows.sequences:
        work.silent["logme"] = "the target's examples have no labels that a linear layer could tell"
        return lambda chosen, number: [None] * len(work.candidates)
    found: list[Floats] = []

    def through(block: Any) -> Floats:
        return states(
            work.engine, block, rows.sequences, rows.places, batch_tokens=work.batch_tokens
        )

    for each in work.candidates:
        work.tell(f"logme: {each.name}")
        with work.measure_time("logme", each.name):
            found.append(through(load_resolved(work.engine, each.resolved).block))
    with work.measure_time("logme"):
        work.plain = rows.score(through(None), every)

    def scores(chosen: Bools | None, number: int) -> list[float | None]:
        told = []
        for each, features in zip(work.candidates, found, strict=True):
            with work.measure_time("logme", each.name):
                told.append(rows.score(features, every if chosen is None else chosen))
        return told

    return scores


def _text(work: Work) -> Scores:
    """How alike the texts of the target and of every module's task are, to the plain backbone."""

    work.tell("text: the target")
    with work.measure_time("text"):
        own = text_vectors(work.engine, work.stage, work.read, batch_tokens=work.batch_tokens)
    found: dict[str, Floats] = {}
    asked = work.asked
    for each in work.candidates:
        if not each.task:
            work.silent[f"text of {each.name}"] = (
                "made of several modules, it has no task of its own"
            )
        if not each.task or each.task in found or f"text of {each.task}" in work.silent:
            continue
        work.tell(f"text: {each.task}")
        with work.measure_time("text", each.name):
            try:
                source = _as_learnt(each)
                read = load_examples(
                    source, "train", asked.data, limit=asked.examples, seed=asked.seed
                )
            except UserError as error:
                work.silent[f"text of {each.task}"] = str(error)
                continue
            found[each.task] = text_vectors(
                work.engine, source, read, batch_tokens=work.batch_tokens
            )

    def scores(chosen: Bools | None, number: int) -> list[float | None]:
        with work.measure_time("text"):
            mine, theirs = own, found
            if chosen is not None:
                mine = own[chosen]
                theirs = {
                    name: vectors[next(half_samples(len(vectors), 1, seed=asked.seed + number))]
                    for name, vectors in found.items()
                }
            alike = {name: text_similarity(mine, each) for name, each in theirs.items()}
        return [alike.get(each.task) for each in work.candidates]

    return scores


def _as_learnt(candidate: Candidate) -> TaskSpec:
    """The task of a candidate's topmost module, in the language that it was learnt in.

    Several tasks, or one that is not known, are refused.
    """
    record = candidate.resolved.record
    if record.heads:
        raise UserError(f"it has learnt several tasks: {', '.join(sorted(record.heads))}")
    if record.task in target_tasks():
        language = str(record.data.get("language", "")) or "en"
        return target_tasks()[record.task].trained_in(language)[-1]
    return task_of(record)


def _parameters(work: Work) -> Scores:
    """How alike every module and one trained shortly on the target by itself are."""
    from adapter_stilts.zoo.local import load_composition, load_resolved

    own: dict[str, dict[str, Any]] = {}
    values: list[float | None] = []
    for each in work.candidates:
        if not isinstance(each.resolved.expression, str) or each.resolved.record.heads:
            work.silent[f"parameters of {each.name}"] = "no single module of one task"
            values.append(None)
            continue
        if each.method not in own:
            work.tell(f"parameters: a short training, {each.method}")
            with work.measure_time("parameters"), tempfile.TemporaryDirectory() as folder:
                try:
                    path, _ = train_shortly(work, "none", each.method, PROBE_STEPS, Path(folder))
                except UserError as error:
                    work.silent["parameters"] = str(error)
                    return lambda chosen, number: [None] * len(work.candidates)
                name = load_composition(work.engine, str(path)).inside
                own[each.method] = products(work.engine, str(name))
        with work.measure_time("parameters", each.name):
            inside = load_resolved(work.engine, each.resolved).inside
            theirs = products(work.engine, str(inside))
        values.append(parameter_similarity(theirs, own[each.method]) if theirs else None)
        if not theirs:
            work.silent[f"parameters of {each.name}"] = f"{each.method} has no pairs of projections"
    return lambda chosen, number: values


RULE_SCORES: Mapping[Rule, Callable[[Work], Scores]] = {
    "logme": _logme,
    "text": _text,
    "parameters": _parameters,
}


def train_shortly(work: Work, on: str, method: str, steps: int, folder: Path) -> tuple[Path, float]:
    """A short training of the target on a composition: where it lies, and its dev score.

    Of Ctrl-C, full disks and full memory it says what helps here, not what helps a training.
    """
    from adapter_stilts.training.execute import is_full, is_out_of_memory
    from adapter_stilts.training.target import train_target

    caution = logging.getLogger("adapter_stilts.training.execute")
    before = caution.level
    caution.setLevel(logging.ERROR)  # that the steps are few is meant
    try:
        trained = train_target(
            work.target,
            on=on,
            backbone=work.place,
            method=method,
            steps=steps,
            source_lang=work.asked.source_lang,
            data=work.asked.data,
            limit=work.asked.examples,
            dev_limit=work.asked.examples,
            evaluations=1,
            keep="last",
            seed=work.asked.seed,
            out=folder / "probe",
            quiet=True,
        )
    except InterruptedTrainingError as error:
        raise InterruptedTrainingError(
            "stopped in a short training, of which nothing is kept: the same command begins anew"
        ) from error
    except FailureError as error:
        if is_full(error.__cause__):
            raise FailureError(
                f"disk full while writing near {folder}: free some space, or name another place by "
                "TMPDIR"
            ) from error
        if is_out_of_memory(error.__cause__):
            raise FailureError(
                "out of memory in a short training: leave out --probe, and say --by logme,text"
            ) from error
        raise
    finally:
        caution.setLevel(before)
    return trained.path, next(iter(trained.record.scores.values()))


LONGEST = 256
"""Tokens of a text that are read at most."""


def feature_columns(engine: Engine, task: TaskSpec, data: ExampleSet) -> dict[str, list[Any]]:
    """The features of a task's examples, as its head would be trained on them."""
    from adapter_stilts.features import build_features

    tags = (
        sorted({tag for row in data.examples["tags"] for tag in row})
        if get_head(task.head).has_tags
        else None
    )
    length = engine.backbone.sequence_length(min(LONGEST, task.max_length))
    how = Encoding(engine.backbone.tokenizer, length, 64, tags)
    columns: dict[str, list[Any]]
    columns = build_features(task.head, data.examples, data.fingerprint, how)[:]
    return columns


def states(
    engine: Engine,
    block: Any,
    sequences: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]] | None,
    *,
    batch_tokens: int,
) -> Floats:
    """The last layer's states of texts, the composition `block` being active (None: none is).

    Args:
        places: which tokens of each sequence are a row each; None makes each one row, the mean.

    Returns:
        (rows, d), in the sequences' order.
    """
    from adapter_stilts.engine.engine import check_outputs
    from adapter_stilts.features import collate, longest_first
    from adapter_stilts.inference.vectors import pool
    from adapter_stilts.zoo.together import Part, mix_hidden

    engine.model.eval()
    lengths = np.array([len(each) for each in sequences], dtype=np.int64)
    pad = engine.backbone.pad_id
    found: list[Any] = [None] * len(sequences)
    for numbers in longest_first(lengths, batch_tokens):
        batch = collate([{"input_ids": list(sequences[number])} for number in numbers], pad)
        hidden = mix_hidden(engine, batch, [Part(block, len(numbers))]).last_hidden_state
        check_outputs([hidden], of="the composition")
        means = pool(hidden, batch["attention_mask"].to(hidden.device))[:, None]
        for place, number in enumerate(numbers):
            rows = means[place] if places is None else hidden[place, list(places[number])]
            found[number] = rows.double().cpu().numpy()
    whole: Floats = np.concatenate(found)
    return whole


def text_vectors(engine: Engine, task: TaskSpec, data: ExampleSet, *, batch_tokens: int) -> Floats:
    """The plain backbone's mean state of every example: (examples, d)."""
    sequences, examples = sequences_of(feature_columns(engine, task, data))
    each = states(engine, None, sequences, None, batch_tokens=batch_tokens)
    return group_means(each, examples)[0]


_PAIR = re.compile(
    r"(.+)\.(?:loras|adapters)\.[^.]+\.(lora_A|lora_B|adapter_down\.0\.weight|adapter_up\.weight)"
)


def products(engine: Engine, name: str) -> dict[str, Product]:
    """A module's down- and up-projections by place; those of what is neither are left out."""
    from adapter_stilts.engine.engine import module_parameters

    found: dict[str, dict[bool, Floats]] = {}
    for key, parameter in module_parameters(engine, name).items():
        if match := _PAIR.fullmatch(key):
            is_up = match[2] in ("lora_B", "adapter_up.weight")
            found.setdefault(match[1], {})[is_up] = parameter.detach().double().cpu().numpy()
    return {place: (pair[False], pair[True]) for place, pair in found.items() if len(pair) == 2}
