"""What runs keep beside their scores: those of single items, and what their fusions listen to."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import product, starmap
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.files import folder_name
from adapter_stilts.metrics import primary
from adapter_stilts.paths import write_whole
from adapter_stilts.study.folder import SELECT
from adapter_stilts.study.graph import RunResult
from adapter_stilts.study.sample import Floats, Ints, Sample
from adapter_stilts.tasks.registry import target_tasks

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explain import Explanation

Part = Literal["test", "dev"]
PARTS: tuple[Part, ...] = ("test", "dev")
_COUNTS = ("numerator", "denominator")
_SCHEMA = pa.schema(
    [("id", pa.string()), ("cluster", pa.string()), *((name, pa.float64()) for name in _COUNTS)]
)
_LENGTHS = ("length", "answer_length")


class ItemFile(NamedTuple):
    """The items of one language: where they are, their table, or what is wrong with them."""

    path: Path
    table: pa.Table | None
    problem: str = ""


def read_item_files(folder: Path, run: RunResult, target: str, part: Part) -> dict[str, ItemFile]:
    """By language, the items of a run on a target.

    A file that is missing, damaged, or does not make up the score of the record has no table. A
    part is `test`, what the target is tested on, which may be its dev set, or `dev`, the English
    items that choose between arms.
    """
    if not run.items:
        return {}
    paths = _paths(folder, run, target, part)
    scores = _scores(run, target, part)
    by_language = run.scores.get(target, {}) if part == "test" else {}
    # What it was trained on is what English dev chose by. Not every task has items.
    is_kept = part == "test" or (run.stage == "target" and target == run.target)
    is_kept = is_kept and target in target_tasks()
    ending = "items.parquet" if part == "test" else SELECT
    found = {}
    for language in dict.fromkeys([*paths, *(scores if is_kept else ())]):
        path = paths.get(language, folder / run.items / target / f"{part}-{language}.{ending}")
        if by_language and language not in by_language:
            found[language] = ItemFile(path, None, "the record has no score of that language")
        else:
            found[language] = _item_file(folder, path, scores.get(language, ()))
    return found


def check_selecting(dev: Path, run: RunResult) -> str:
    """What is wrong with the items of English dev that a run has kept; mostly nothing."""
    path = dev / SELECT
    if not path.exists() and not path.is_symlink():
        return ""  # of some tasks none are kept
    found = _item_file(dev, path, _scores(run, run.target, "dev").get("en", ()))
    return found.problem and f"{path}: {found.problem}"


def _paths(folder: Path, run: RunResult, target: str, part: Part) -> dict[str, Path]:
    known = target_tasks().get(target)
    names = {target, folder_name(known) if known is not None else target}
    return {
        path.name.partition("-")[2].split(".")[0]: path
        for name in sorted(names)
        # Below it: a language may have a folder, and XTREME's name of the task.
        for path in sorted((folder / run.items / name).rglob("*-*.items.parquet"))
        if path.name.endswith(f".{SELECT}") == (part == "dev")
    }


def _scores(run: RunResult, target: str, part: Part) -> dict[str, tuple[float, ...]]:
    """What the record says of every language; nothing where a score is no sum over items.

    Of a task that is not registered, such as a plug-in's, each of its scores may be that of items.
    """
    from adapter_stilts.evaluation.items import METRICS

    known = target_tasks().get(target)
    if known is not None and known.metric not in METRICS:
        return {}
    if part == "dev":
        return {} if run.dev_select is None else {"en": (run.dev_select,)}
    metric = known and primary(known.metric)
    return {
        language: tuple(score for name, score in scores.items() if metric in (None, name))
        for language, scores in run.scores.get(target, {}).items()
    }


def _item_file(folder: Path, path: Path, scores: Sequence[float]) -> ItemFile:
    try:
        return ItemFile(path, _read(folder, path, scores))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:  # not there, or damaged
        return ItemFile(path, None, " ".join(str(error).split())[:120])


def _read(folder: Path, path: Path, scores: Sequence[float]) -> pa.Table:
    """The items in the order of their ids, which make up one of these scores, if there are any."""
    if not path.is_file():
        raise ValueError("there are no scores of single items")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("it lies outside the study's folder")
    whole = pq.read_table(path)
    table = whole.select(_SCHEMA.names).cast(_SCHEMA)
    numerator, denominator = (table[name].to_numpy() for name in _COUNTS)
    if not (np.isfinite(numerator) & np.isfinite(denominator) & (denominator >= 0)).all():
        raise ValueError("items have counts that cannot be")
    total = denominator.sum()
    found = 100 * numerator.sum() / total if total else 0.0
    if scores and not any(math.isclose(found, each, abs_tol=1e-6) for each in scores):
        said = " or ".join(f"{each:.6f}" for each in scores)
        raise ValueError(f"its items score {found:.6f}, the record says {said}")
    for name in _LENGTHS:
        if name in whole.column_names:
            table = table.append_column(name, whole[name])
    return table.sort_by("id")


class Seeds(NamedTuple):
    """The seeds of a composition: of its intermediate modules, and of the target's."""

    intermediate: int
    target: int


Tables = dict[str, dict[Seeds, pa.Table]]
"""By language and seeds the items, as `evaluation.items` keeps them."""


def make_sample(arms: Mapping[str, Tables], *, parallel: bool) -> Sample:
    """The languages that all arms have, with the same items in all; without any, it is left out.

    Args:
        arms: every one with all pairs of its seeds.
        parallel: items of one id are translations of each other.

    Raises:
        UserError: no language is common to all, arms were evaluated on other items, or an arm
            lacks a pair of its seeds.
    """
    first, *others = arms.values()
    languages = [
        name for name, tables in first.items()
        if all(name in other for other in others) and any(map(len, tables.values()))
    ]  # fmt: skip
    if not languages:
        raise UserError("no language has scores of single items in all that is compared")
    for language in languages:
        each = [table for tables in arms.values() for table in tables[language].values()]
        if any(not table.column("id").equals(each[0].column("id")) for table in each[1:]):
            raise UserError(f"'{language}' was not evaluated on the same items in all")
    items = {}
    for language in languages:
        table = next(iter(first[language].values()))
        items[language] = list(
            zip(table["id"].to_pylist(), table["cluster"].to_pylist(), strict=True)
        )
    made = {
        arm: {name: _counts(arm, tables[name]) for name in languages}
        for arm, tables in arms.items()
    }
    try:
        return Sample(_clusters(items, parallel=parallel), made, parallel)
    except ValueError as error:
        raise UserError(f"these items allow no interval: {error}") from error


def _counts(arm: str, tables: Mapping[Seeds, pa.Table]) -> Floats:
    """One language's counts, (S1, S2, items, 2)."""
    firsts, seconds = (sorted({seeds[k] for seeds in tables}) for k in range(2))
    pairs = list(starmap(Seeds, product(firsts, seconds)))
    for seeds in pairs:
        if seeds not in tables:
            raise UserError(f"'{arm}' lacks the seeds {seeds.intermediate} and {seeds.target}")
    counts = [
        np.stack([tables[seeds][name].to_numpy() for name in _COUNTS], axis=-1) for seeds in pairs
    ]
    return np.array(counts, dtype=np.float64).reshape(len(firsts), len(seconds), -1, 2)


Items = Mapping[str, Sequence[tuple[str, str]]]


def _clusters(items: Items, *, parallel: bool) -> dict[str, Ints]:
    """The number of every item's cluster, by language.

    In parallel test sets a cluster is what hangs together: the questions of an article in one
    language, and their translations, wherever an article is called otherwise.
    """
    if not parallel:
        return {name: _numbers(cluster for _, cluster in each) for name, each in items.items()}
    from scipy.sparse import coo_array  # slow to load: only parallel sets need it
    from scipy.sparse.csgraph import connected_components

    pairs = [
        (item, (language, cluster)) for language, each in items.items() for item, cluster in each
    ]
    # Items come before clusters, so that what hangs together is numbered by its first item.
    ends = [_numbers(each) for each in zip(*pairs, strict=True)]
    size = len(pairs)
    links = coo_array((np.ones(size), (ends[0], size + ends[1])), shape=(2 * size, 2 * size))
    numbers = connected_components(links, directed=False)[1].astype(np.int64)[ends[0]]
    sizes = np.cumsum([len(each) for each in items.values()])[:-1]
    return dict(zip(items, np.split(numbers, sizes), strict=True))


def _numbers(names: Iterable[Hashable]) -> Ints:
    """The number of every name, in the order in which they first occur."""
    order: dict[Hashable, int] = {}
    return np.array([order.setdefault(name, len(order)) for name in names], dtype=np.int64)


ATTENTION = "attention.json"
ATTENTION_TEXTS = 16
"""Of every language: some thousand tokens, over which attention is averaged."""


class Attention(BaseModel):
    """Mean attention weights of a fusion, by layer (over languages) and language (over layers)."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    sources: tuple[str, ...]
    layers: dict[int, dict[str, float]]
    languages: dict[str, dict[str, float]]
    entropy: dict[str, float]

    def called(self, names: Sequence[str]) -> Attention:
        """The same with its sources called otherwise, in their order.

        Modules of another seed have other names, and what they have learnt has not.
        """
        if len(names) != len(self.sources):
            return self
        new = dict(zip(self.sources, names, strict=True))

        def renamed(parts: Mapping[Any, Mapping[str, float]]) -> dict[Any, dict[str, float]]:
            return {key: {new.get(k, k): w for k, w in part.items()} for key, part in parts.items()}

        layers, languages = renamed(self.layers), renamed(self.languages)
        made = {"sources": tuple(names), "layers": layers, "languages": languages}
        return self.model_copy(update=made)


def keep_attention(
    module: Path, target: str, names: Sequence[str], items: Path, **options: Any
) -> None:
    """Reads some texts of a target through its fusion, and writes what it attended to.

    Its sources are called by `names`, in their order; the file is put beside the run's items, and
    the options are those of `explain`.
    """
    from adapter_stilts.evaluation.explain import explain  # not for the report

    found = summarise(explain(str(module), task=target, limit=ATTENTION_TEXTS, **options), names)
    write_whole(items / ATTENTION, found.model_dump_json() + "\n")


def summarise(found: Explanation, names: Sequence[str]) -> Attention:
    """The part of an explanation that is kept, its sources called by these names."""
    languages = {name: found.over_layers(name) for name in found.weights}
    return Attention(
        sources=found.sources,
        layers={layer: dict(weights) for layer, weights in found.average.items()},
        languages=languages,
        entropy=dict(found.entropy_over_layers),
    ).called(names)


def read_attention(path: Path) -> Attention | None:
    """The file of a run; None where there is none. A damaged one is a `ValueError`."""
    if not path.is_file():
        return None
    try:
        return Attention.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"no summary of a fusion: {error.errors()[0]['msg']}") from error


def mean_attention(each: Sequence[Attention]) -> Attention:
    """The mean over runs of one fusion, such as its seeds; what all of them have."""

    def mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: fmean(p[name] for p in parts) for name in shared(parts)}

    def means(parts: Sequence[Mapping[Any, Mapping[str, float]]]) -> dict[Any, dict[str, float]]:
        return {key: mean([part[key] for part in parts]) for key in shared(parts)}

    def shared(parts: Sequence[Mapping[Any, Any]]) -> list[Any]:
        return [key for key in parts[0] if all(key in part for part in parts)]

    return Attention(
        sources=each[0].sources,
        layers=means([a.layers for a in each]),
        languages=means([a.languages for a in each]),
        entropy=mean([a.entropy for a in each]),
    )
