"""The modules that a recommendation ranks, and what every rule says of them."""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.composition import NONE
from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import FailureError, InterruptedTrainingError, UserError
from adapter_stilts.paths import is_folder
from adapter_stilts.study.recommend.ranking import half_samples
from adapter_stilts.study.recommend.recommendation import Asked, Rule
from adapter_stilts.study.recommend.rules import parameter_similarity, text_similarity
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.training.fuse import all_sources
from adapter_stilts.zoo.adopt import is_foreign
from adapter_stilts.zoo.choice import check_one_backbone, has_record
from adapter_stilts.zoo.known_task import task_of
from adapter_stilts.zoo.names import series_name
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve
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
    def series(self) -> tuple[str, ...]:
        """What modules have in common that differ by the seed of their training alone."""
        if not isinstance(self.resolved.expression, str):
            return (self.given,)
        (module,) = self.resolved.modules.values()
        return _series(module.folder, module.record)

    @property
    def method(self) -> str:
        """Of its topmost module; a target's module on top of it is of the same."""
        return self.resolved.record.method


def find_candidates(
    modules: Sequence[str], method: str, backbone: str | None = None
) -> list[Candidate]:
    """The modules that are named, those of folders that are, or one a task of the zoo.

    Seeds of one module are one way to learn a target: of a folder the lowest seed is taken.

    Args:
        modules: names, compositions, or folders of modules.
        method: of what is taken from the zoo.
        backbone: chooses among modules of one name.

    Raises:
        UserError: there is none, an unknown one, one twice or by two seeds, or of different
            backbones.
    """
    method = get_method(method).name
    given = [each for text in modules for each in _in_folder(text, method)]
    given = given or list(all_sources(method, backbone, least=1))
    found = [Candidate(text, resolve(text, backbone)) for text in given]
    runs: dict[str, str] = {}
    for each in found:
        if runs.setdefault(each.resolved.identity, each.given) != each.given or (
            given.count(each.given) > 1
        ):
            raise UserError(f"'{each.name}' is named twice: name every module once")
    _check_seeds(found)
    check_one_backbone([(each.name, each.resolved.record.backbone) for each in found])
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        places = [each.given for each in found if each.name == twice]
        raise UserError(f"{' and '.join(places)} are both called '{twice}': name one of them only")
    return found


def _series(folder: Path, record: ModuleRecord) -> tuple[str, ...]:
    return series_name(folder, _seed(record)), record.task, record.method


def _seed(record: ModuleRecord) -> int:
    seed = record.recipe.get("seed", 0)
    return seed if isinstance(seed, int) else 0


def _check_seeds(found: Sequence[Candidate]) -> None:
    """Refuses seeds of one module: ranked beside each other, they would take the others' places."""
    first: dict[tuple[str, ...], Candidate] = {}
    for each in found:
        other = first.setdefault(each.series, each)
        if other is not each and _seed(other.resolved.record) != _seed(each.resolved.record):
            raise UserError(
                f"{other.given} and {each.given} are seeds of one module, which are alike for a "
                "target but for chance: name one of them"
            )


def _in_folder(text: str, method: str) -> list[str]:
    """The modules of a folder that is none itself; anything else stands for itself."""
    if text.strip() == NONE:
        raise UserError(
            "'none' is no module: LogME says where the backbone alone stands, and `adstilts "
            "train-target` without --on trains on it"
        )
    folder = Path(text).expanduser()
    if not text.strip() or not is_folder(folder) or has_record(folder) or is_foreign(folder):
        return [text]
    inside = sorted({*folder.glob(f"*/{RECORD}"), *folder.glob(f"*/*/{RECORD}")})
    places = [path.parent for path in inside if not path.parent.name.startswith(".")]
    records = {place: ModuleRecord.read(place) for place in places}
    lowest: dict[tuple[str, ...], Path] = {}
    for place in sorted(places, key=lambda each: _seed(records[each])):
        lowest.setdefault((str(place.parent), *_series(place, records[place])), place)
    kept = [place for place in places if place in lowest.values()]
    found = [str(place) for place in kept if records[place].method == method]
    if not places:
        raise UserError(f"{text}: no module lies in that folder (a module has a {RECORD})")
    if not found:
        raise UserError(
            f"{text}: none of the {len(places)} modules in that folder is of method {method}: see "
            "--method"
        )
    return found


Floats = npt.NDArray[np.float64]
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


Scores = Callable[[npt.NDArray[np.bool_] | None, int], list[float | None]]
"""A rule's score of every candidate over some of the examples (None: all), in draw number n."""


def _logme(work: Work) -> Scores:
    """LogME over the states that every module gives the target's examples."""
    from adapter_stilts.study.recommend.module_features import feature_columns, states
    from adapter_stilts.study.recommend.rules import labelled_rows
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

    def scores(chosen: npt.NDArray[np.bool_] | None, number: int) -> list[float | None]:
        told = []
        for each, features in zip(work.candidates, found, strict=True):
            with work.measure_time("logme", each.name):
                told.append(rows.score(features, every if chosen is None else chosen))
        return told

    return scores


def _text(work: Work) -> Scores:
    """How alike the texts of the target and of every module's task are, to the plain backbone."""
    from adapter_stilts.study.recommend.module_features import text_vectors

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

    def scores(chosen: npt.NDArray[np.bool_] | None, number: int) -> list[float | None]:
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

    Raises:
        UserError: it has learnt several tasks, or one that is not known.
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
    from adapter_stilts.study.recommend.module_features import products
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

    Raises:
        InterruptedTrainingError: Ctrl-C.
        FailureError: full disks, full memory: what helps here is not what helps a training.
    """
    from adapter_stilts.training.execute import is_full, is_out_of_memory
    from adapter_stilts.training.target import train_target

    caution = logging.getLogger("adapter_stilts.training.begin")
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
