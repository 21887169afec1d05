"""The records of a study as arms on targets, with the scores of their items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from adapter_stilts.errors import UserError, counted
from adapter_stilts.metrics import primary
from adapter_stilts.study.graph import TESTED, Planned, RunResult
from adapter_stilts.study.items import (
    ATTENTION,
    PARTS,
    Attention,
    Part,
    Seeds,
    Tables,
    make_sample,
    mean_attention,
    read_attention,
    read_item_files,
)
from adapter_stilts.study.sample import Target
from adapter_stilts.study.spec import EACH_TASK, LONGER
from adapter_stilts.tasks.registry import target_tasks


class Damaged(NamedTuple):
    """A record that cannot be read: where it is, and why."""

    place: str
    why: str


@dataclass(frozen=True)
class StudyData:
    """Every run that was evaluated, under the name of its arm; `damaged` is filled as it is read.

    An arm that every intermediate task has has a name for each: `singles:squad`.
    Where it is known what is `planned`, records of other runs, of an earlier plan, play no part.
    """

    name: str
    folder: Path
    results: Sequence[RunResult]
    damaged: list[Damaged] = field(default_factory=list)
    planned: Mapping[str, Planned] = field(default_factory=dict)
    _read: dict[tuple[str, str, Part], dict[str, pa.Table]] = field(default_factory=dict)

    @cached_property
    def current(self) -> list[RunResult]:
        """The records of the runs that the study has now."""
        return [each for each in self.results if not self.planned or each.run in self.planned]

    @cached_property
    def evaluated(self) -> list[RunResult]:
        """Those of them that are compared: others train what these stand on."""
        return [each for each in self.current if each.stage in TESTED and each.scores]

    @cached_property
    def notes(self) -> list[str]:
        """What a reader must know of the records: runs that are missing or outdated, and dev."""
        said = []
        done = {each.run for each in self.current}
        left = Counter(str(each) for name, each in self.planned.items() if name not in done)
        if left:
            listed = ", ".join(f"{what} ({count})" for what, count in left.most_common(8))
            more = f" and {len(left) - 8} more" if len(left) > 8 else ""
            said.append(f"Missing: {left.total()} of {len(self.planned)} runs: {listed}{more}.")
        if outdated := len(self.results) - len(self.current):
            records = counted(outdated, "record")
            said.append(f"Left out: {records} of runs that are not in the last plan.")
        whole = dict.fromkeys(each.target for each in self.current if each.dev_whole)
        if whole:
            said.append(
                f"{', '.join(whole)}: rates and arms were chosen by the same dev items, since "
                "there are too few for halves, or the score is no sum over items."
            )
        said.extend(self._edges())
        return said

    def _edges(self) -> Iterator[str]:
        """Arms whose best rate is the lowest or highest of those tried, so a better may lie beyond.

        Of singles it is said for those of which most are so.
        """
        tried: dict[tuple[str, str], set[float]] = {}
        for each in self.current:
            if each.stage == "rate":
                tried.setdefault((each.arm, each.target), set()).add(each.lr)
        ends: dict[tuple[str, str], Counter[float]] = {}
        for each in self.current:
            rates = tried.get((each.arm, each.target), set())
            if each.stage == "target" and len(rates) > 1:
                found = each.lr if each.lr in (min(rates), max(rates)) else 0.0
                ends.setdefault((each.arm, each.target), Counter())[found] += 1
        at_end: dict[tuple[float, str], list[str]] = {}
        for (arm, target), counts in ends.items():
            for rate, count in counts.items():
                if rate and 2 * count > counts.total():
                    at_end.setdefault((rate, arm), []).append(target)
        if at_end:
            listed = [f"{rate:g} of {arm} on {', '.join(on)}" for (rate, arm), on in at_end.items()]
            yield (
                "The best learning rate lies at an end of those tried, so that another may be "
                f"better: {'; '.join(listed)}."
            )

    @cached_property
    def arms(self) -> dict[str, list[RunResult]]:
        """The runs of every arm, in the order of the records."""
        found: dict[str, list[RunResult]] = {}
        for each in self.evaluated:
            found.setdefault(self._arm_name(each), []).append(each)
        return found

    @property
    def arms_in_order(self) -> list[str]:
        """The names of the arms as a reader looks for them: as the plan has them."""
        planned = (name for name, _ in self._planned_cells)
        return [name for name in dict.fromkeys((*planned, *self.arms)) if name in self.arms]

    def _arm_name(self, each: RunResult | Planned) -> str:
        """The arm, with the task below where each task has one, and the method of several."""
        name = each.arm
        if name.split()[0] in EACH_TASK:
            name += f":{'+'.join(each.intermediate) or 'none'}"
        return f"{name} [{each.method}]" if len(self.methods) > 1 else name

    @cached_property
    def methods(self) -> set[str]:
        """How modules are put into the backbone, by the records and by the plan."""
        known = [each.method for each in self.evaluated]
        return {*known, *(each.method for each in self.planned.values())} - {""}

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """All that something was evaluated on."""
        return tuple(dict.fromkeys(t for each in self.evaluated for t in each.scores))

    @cached_property
    def absent(self) -> list[tuple[str, str]]:
        """Arms and targets of which nothing was evaluated yet, though the study plans them."""
        if not self._planned_cells:
            return [(a, t) for a in self.arms for t in self.targets if not self.on(a, t)]
        return [cell for cell in self._planned_cells if not self.on(*cell)]

    @cached_property
    def _planned_cells(self) -> list[tuple[str, str]]:
        """The arms and targets of the plan; which task's single gets further seeds is open."""
        cells = (
            (self._arm_name(each), each.target)
            for each in self.planned.values()
            if each.stage in TESTED and not each.is_of_each_task
        )
        return list(dict.fromkeys(cells))

    @property
    def unequal(self) -> set[str]:
        """Arms with a run whose budget is not that of the others."""
        return {arm for arm, runs in self.arms.items() if any(each.unequal for each in runs)}

    def trained_on(self, target: str) -> str:
        """The target whose training its runs had: another one's where it is tested beside that."""
        return next((e.target for e in self.evaluated if target in e.scores), target)

    def single(self, task: str, method: str) -> str | None:
        """The arm of an intermediate task's module, if there is one."""
        found = self.arms_named(
            f"singles:{task}" + (f" [{method}]" if len(self.methods) > 1 else "")
        )
        return found[0] if len(found) == 1 else None

    def is_control(self, arm: str) -> bool:
        """Whether it is the control for mere quantity, which trains for longer than the others."""
        return any(each.arm.split()[0] == LONGER for each in self.arms[arm])

    def arms_named(self, arm: str) -> tuple[str, ...]:
        """The arms that a name stands for: itself, or those of all tasks and methods of that name.

        So `singles` are `singles:squad` and all others, and where there are two methods `alone` are
        `alone [bottleneck]` and `alone [lora]`.
        """
        return (arm,) if arm in self.arms else tuple(n for n in self.arms if self._is(n, arm))

    def never_run(self, arm: str) -> tuple[str, ...]:
        """The arms that a name stands for, and that the study plans, without any record yet."""
        names = dict.fromkeys(name for name, _ in self._planned_cells)
        return tuple(n for n in names if n not in self.arms and (n == arm or self._is(n, arm)))

    def _is(self, name: str, wanted: str) -> bool:
        base, _, method = wanted.partition(" [")
        ending = f" [{method}" if method and len(self.methods) > 1 else ""
        return name.endswith(ending) and (
            name == base + ending or name.startswith((f"{base}:", f"{base} ["))
        )

    def on(self, arm: str, target: str) -> dict[Seeds, RunResult]:
        """An arm's runs on a target, by seeds."""
        return {
            Seeds(each.seed_intermediate or 0, each.seed_target or 0): each
            for each in self.arms.get(arm, ())
            if target in each.scores
        }

    def score(self, arm: str, target: str) -> float | None:
        """The mean over seeds of the mean over languages, of the task's first metric."""
        means = [
            fmean(each.values()) for run in self.on(arm, target).values()
            if (each := self.languages(run, target))
        ]  # fmt: skip
        return fmean(means) if means else None

    def languages(self, run: RunResult, target: str) -> dict[str, float]:
        """The first metric of a run by language."""
        metric = self.metric(target)
        by_language = run.scores[target].items()
        return {name: scores[metric] for name, scores in by_language if metric in scores}

    def metric(self, target: str) -> str:
        """That of the task; of one that is not registered, the first in the records."""
        known = target_tasks().get(target)
        if known is not None:
            return primary(known.metric)
        runs = [each for each in self.evaluated if each.scores.get(target)]
        return next(iter(next(iter(runs[0].scores[target].values()))))

    def items(self, run: RunResult, target: str, part: Part) -> dict[str, pa.Table]:
        """The scores of a run's items by language; damaged files are named, and left out."""
        key = run.run, target, part
        if key not in self._read:
            found = self._read[key] = {}
            for language, each in read_item_files(self.folder, run, target, part).items():
                if each.table is None:
                    self._note(str(each.path.relative_to(self.folder)), each.problem)
                else:
                    found[language] = each.table
        return self._read[key]

    def read_items(self) -> None:
        """Reads the items of all runs, so that all that is damaged is known."""
        for run in self.evaluated:
            for target, part in product(run.scores, PARTS):
                self.items(run, target, part)

    def item_column(self, target: Target, column: str) -> dict[str, pa.ChunkedArray]:
        """What is known of a target's test items besides scores, by language, in their order.

        That is `id`, `length` of the input or `answer_length`; languages of which no run has it
        are not there.
        """
        found: dict[str, pa.ChunkedArray] = {}
        runs = [run for arm in target.test.arms for run in self.on(arm, target.name).values()]
        for run in runs:
            for language, table in self.items(run, target.name, "test").items():
                known = column in table.column_names and not table[column].null_count
                if known and language in target.test.clusters:
                    found.setdefault(language, table[column])
        return found

    def target(self, name: str, arms: Sequence[str], by_dev: Collection[str] = ()) -> Target:
        """A target with these arms; `by_dev` are those that English dev chooses among.

        An arm has the seeds that it was run with, which may be more than another's. English dev
        chooses by the seeds that all of `by_dev` have, as the study itself did when it gave more
        of them to the best; and by the items that all have, where these are rows of train that
        each training has not drawn. An arm without scores of single items there, or with those of
        others than the rest, is refused.
        """
        known = target_tasks().get(name)
        test = {arm: self._arm_tables(arm, name, "test") for arm in arms}
        sample = make_sample(test, parallel=known is not None and known.parallel)
        if not by_dev:
            return Target(name, sample)
        shared = set.intersection(*(set(self.on(arm, name)) for arm in by_dev))
        dev = {arm: self._arm_tables(arm, name, "dev", shared) for arm in by_dev}
        return Target(name, sample, make_sample(_same_items(dev), parallel=False))

    def attention(self, arm: str, target: str) -> Attention | None:
        """What an arm's fusion listens to on a target, the mean over its runs."""
        found = []
        for run in self.on(arm, target).values():
            place = f"{run.items}/{ATTENTION}"
            try:
                each = read_attention(self.folder / place) if run.items else None
            except (OSError, ValueError) as error:
                self._note(place, str(error))
                continue
            if each is not None and run.target == target:
                found.append(each.called(run.intermediate))
        return mean_attention(found) if found else None

    def _note(self, place: str, why: str) -> None:
        damaged = Damaged(place, " ".join(why.split())[:120])
        if damaged not in self.damaged:
            self.damaged.append(damaged)

    def _arm_tables(
        self, arm: str, target: str, part: Part, only: Collection[Seeds] = ()
    ) -> Tables:
        runs = self.on(arm, target)
        runs = {seeds: run for seeds, run in runs.items() if not only or seeds in only}
        if not runs:
            raise UserError(f"{arm}: not run")
        found = {
            seeds: each
            for seeds, run in runs.items()
            if (each := self._dev(run) if part == "dev" else self.items(run, target, part))
        }
        if not found:
            where = "English dev" if part == "dev" else "its tests"
            raise UserError(f"{arm}: no scores of single items of {where}")
        kept = complete_seeds(list(found))
        shared = [lang for lang in found[kept[0][0]] if all(lang in found[s] for s, _ in kept)]
        return {lang: {new: found[old][lang] for old, new in kept} for lang in shared}

    def _dev(self, run: RunResult) -> dict[str, pa.Table]:
        """English dev, which chooses: its items where they are kept, else its score as it is."""
        if kept := self.items(run, run.target, "dev"):
            return {"en": kept["en"]} if "en" in kept else {}
        if run.dev_select is None:
            return {}
        # Two that are alike: whatever is drawn, the score stays.
        columns = {"id": ["a", "b"], "cluster": ["a", "b"], "denominator": [1.0, 1.0]}
        return {"en": pa.table({**columns, "numerator": [run.dev_select / 100] * 2})}

    @cached_property
    def dev_fixed(self) -> bool:
        """Whether English dev has no scores of single items, so that only seeds vary it."""
        return not any(self.items(each, each.target, "dev") for each in self.evaluated)


def _same_items(arms: Mapping[str, Tables]) -> dict[str, Tables]:
    """The same with the items that all have, where they have any in common."""
    tables = [
        t for languages in arms.values() for each in languages.values() for t in each.values()
    ]
    shared = set.intersection(*(set(table["id"].to_pylist()) for table in tables))
    if not shared:
        return dict(arms)
    ids = pa.array(sorted(shared))
    return {
        arm: {
            language: {
                seeds: table.filter(pc.is_in(table["id"], value_set=ids))
                for seeds, table in each.items()
            }
            for language, each in by_language.items()
        }
        for arm, by_language in arms.items()
    }


def complete_seeds(seeds: Sequence[Seeds]) -> list[tuple[Seeds, Seeds]]:
    """Runs whose seeds of the two stages are crossed, and how they are to be counted.

    Where no two runs share a seed, a pair is drawn as one. Else of seeds that are not crossed in
    full, the largest block that is.
    """
    pairs = sorted(set(seeds))
    firsts, seconds = ({each[k] for each in pairs} for k in range(2))
    if len(firsts) * len(seconds) == len(pairs):
        return [(each, each) for each in pairs]
    if len(firsts) == len(seconds) == len(pairs):
        return [(each, Seeds(place, 0)) for place, each in enumerate(pairs)]
    by_first: Mapping[int, set[int]] = {a: {y for x, y in pairs if x == a} for a in firsts}
    best: list[Seeds] = []
    for own in by_first.values():
        rows = [a for a in sorted(firsts) if own <= by_first[a]]
        block = [Seeds(a, b) for a in rows for b in sorted(own)]
        best = max(best, block, key=len)
    return [(each, each) for each in best]
