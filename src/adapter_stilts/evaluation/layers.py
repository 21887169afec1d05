"""Which layer sentence vectors are taken from: by a rule, or by a sweep over dev data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.data import data_sets, lacks
from adapter_stilts.evaluation.files import write_whole
from adapter_stilts.evaluation.items import gold_pairs, mined_pairs
from adapter_stilts.evaluation.options import RULES, LayerRule, default_layer
from adapter_stilts.evaluation.retrieval import features_of
from adapter_stilts.inference.search import nearest
from adapter_stilts.inference.vectors import Half, layer_vectors
from adapter_stilts.metrics import get_metric, primary
from adapter_stilts.metrics.retrieval import above, best_threshold
from adapter_stilts.paths import cache_dir
from adapter_stilts.safety import check_shape, json_text
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.zoo.local import Composed, activate

RECORD = "layer.json"


@dataclass(frozen=True)
class LayerChoice:
    """A layer and a pooling, and why they were chosen.

    `scores` are the mean dev scores by pooling and layer (from 0 on), empty where a rule chose;
    `languages` are those of the dev data behind them, `data` its fingerprints.
    """

    layer: int
    pooling: str
    rule: str
    scores: dict[str, list[float]]
    data: list[str]
    languages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Choosing:
    """How a layer is chosen for a target: by its own dev data, by those of `on`, or by the rule.

    `where` is as in `load_examples`.
    """

    target: TargetSpec
    where: str | None
    rule: LayerRule
    pooling: str = "mean"
    on: TargetSpec | None = None

    @property
    def judge(self) -> TargetSpec:
        """The task whose dev data are looked at."""
        return self.on or self.target

    def read_choice(self, folder: Path, fingerprint: str, identity: str) -> LayerChoice | None:
        """What `sweep_layers` would find recorded and leave; needs no backbone in memory.

        The `fingerprint` is the backbone's, the `identity` the composition's.
        """
        try:
            known = _read_choice(
                folder, _about(fingerprint, identity, self.target), overwrite=False
            )
        except UserError:  # sweep_layers says so, or replaces it
            return None
        return known if known is not None and self.agrees(known) else None

    def agrees(self, known: LayerChoice) -> bool:
        """Whether a recorded choice was made as it would be now, on the data as they are now."""
        if known.pooling != self.pooling:
            return False
        if not has_translations(self.judge):
            return known.rule == RULES[self.rule]
        if not known.languages or not known.rule.startswith(f"{_SWEPT} {self.judge.name} in "):
            return False
        try:
            sets = [
                load_examples(task, split, self.where)
                for language in known.languages
                for task, split in data_sets(self.judge, language, "dev", self.where)
            ]
        except UserError:  # some of them are not there any more
            return False
        return known.data == [each.fingerprint for each in sets]


_SWEPT = "best on the dev data of"


def sweep_layers(
    engine: Engine,
    composed: Composed,
    how: Choosing,
    languages: Sequence[str],
    *,
    folder: Path | None = None,
    batch_tokens: int = 8192,
    overwrite: bool = False,
) -> LayerChoice:
    """Chooses a layer before anything of the test data is looked at.

    Where sentences and their translations are given as dev data, of the target itself (BUCC) or of
    another task the user names (for Tatoeba, which has none), every layer is tried on them, and the
    one with the highest score in the mean of the languages is taken; of equals the lowest. Accuracy
    counts for translations by position, F1 at the best threshold for mining. Else a rule decides:
    candidates to be ranked are too many to try every layer. Refuses `how.on` without such dev data,
    and a folder with another composition's choice.

    Args:
        languages: of the target; those without dev data are passed over. With `how.on`, all of
            that task's languages that the data has count in their place.
        folder: where the choice is recorded, as `layer.json`. One that was made there in the
            same way, on the same dev data, stays, whatever other languages are given.
        overwrite: replace the choice made for another composition.
    """
    about = _about(engine.fingerprint, composed.identity, how.target)
    known = _read_choice(folder, about, overwrite=overwrite)
    if known is not None and how.agrees(known):
        return known
    if has_translations(how.judge):
        sweep = Sweep(engine, composed, how, batch_tokens)
        choice = sweep.choose(how.on.languages if how.on else languages)
    elif how.on is not None:
        raise UserError(f"{how.on.name} has no translations as dev data: choose another task")
    else:
        layer = default_layer(engine.layers, how.rule)
        choice = LayerChoice(layer, how.pooling, RULES[how.rule], {}, [])
    if folder is not None:
        fields = {"composition": composed.expression, **about, **asdict(choice)}
        write_whole(folder / RECORD, json_text(fields))
    return choice


def _about(fingerprint: str, identity: str, target: TargetSpec) -> dict[str, str]:
    return {"target": target.name, "identity": identity, "backbone": fingerprint}


def _read_choice(
    folder: Path | None, mine: Mapping[str, str], *, overwrite: bool
) -> LayerChoice | None:
    path = folder and folder / RECORD
    if path is None or not path.is_file():
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {key: fields.pop(key) for key in ("composition", *mine)}
        choice = check_shape(LayerChoice, fields, path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UserError) as error:
        raise UserError(f"{path} is damaged: remove it to choose a layer anew") from error
    if any(found[key] != mine[key] for key in mine):
        if overwrite:
            return None
        raise UserError(
            f"{path} holds the layer chosen for '{found['composition']}' on {found['target']}: "
            "choose another folder"
        )
    return choice


def has_translations(target: TargetSpec) -> bool:
    """Whether a task's dev data are sentences and their translations."""
    there = all(source.has("dev") for source in target.sources)
    return target.retrieval is not None and target.retrieval.search != "ranking" and there


@dataclass(frozen=True)
class Sweep:
    """All layers of one composition on the dev data of a task with translations."""

    engine: Engine
    composed: Composed
    how: Choosing
    batch_tokens: int

    def choose(self, languages: Sequence[str]) -> LayerChoice:
        """The best layer in the mean of the languages with dev data; refuses where none has."""
        judge, where, pooling = self.how.judge, self.how.where, self.how.pooling
        data: list[str] = []
        found: dict[str, list[float]] = {}
        for language in languages:
            tasks = list(data_sets(judge, language, "dev", where))
            if any(lacks(task, split, where) for task, split in tasks):
                continue
            sets = [load_examples(task, split, where) for task, split in tasks]
            data += [each.fingerprint for each in sets]
            found[language] = self._by_layer(sets)
        if not found:
            raise UserError(f"{judge.name}: no dev data to choose a layer on")
        means = [mean(column) for column in zip(*found.values(), strict=True)]
        best, there = means.index(max(means)), list(found)
        why = f"{_SWEPT} {judge.name} in {', '.join(there)}"
        return LayerChoice(best, pooling, why, {pooling: means}, data, there)

    def _by_layer(self, sets: Sequence[ExampleSet]) -> list[float]:
        """The dev score with each layer's vectors, which come from one pass over each side."""
        cache = cache_dir() / "vectors"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".sweep-", dir=cache) as folder:
            queries, candidates = (
                self._vectors(data, Path(folder) / f"{number}.npy")
                for number, data in enumerate(sets[:2])
            )
            return [
                self._score(sets, queries[layer], candidates[layer])
                for layer in range(self.engine.layers + 1)
            ]

    def _vectors(self, data: ExampleSet, path: Path) -> Half:
        activate(self.engine, self.composed)
        length = self.engine.backbone.sequence_length(self.how.judge.max_length)
        return layer_vectors(
            self.engine,
            features_of(self.engine, data, length),
            range(self.engine.layers + 1),
            pooling=self.how.pooling,
            batch_tokens=self.batch_tokens,
            path=path,
        )

    def _score(self, sets: Sequence[ExampleSet], queries: Half, candidates: Half) -> float:
        metric = get_metric(self.how.judge.metric)
        if len(sets) == 2:
            found = nearest(queries, candidates).tolist()
            scores = metric.compute(predictions=found, references=list(range(len(found))))
        else:
            pairs = mined_pairs(sets[0], sets[1], queries, candidates)
            gold = gold_pairs(sets[2], sets[0])
            kept = above(pairs, best_threshold(pairs, gold))
            scores = metric.compute(predictions=kept, references=sorted(gold))
        return scores[primary(self.how.judge.metric)]
