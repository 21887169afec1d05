"""What an evaluation says in the end, of one seed or several: scores, averages, transfer gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from adapter_stilts.display import Picture, Result, bars
from adapter_stilts.errors import UserError, counted
from adapter_stilts.metrics import Spread, spreads
from adapter_stilts.tasks.spec import Split
from adapter_stilts.tasks.target_spec import TargetSpec

Scores = Mapping[str, float]
ENGLISH = "en"


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """One composition on one target task.

    `metric` is the task's primary one. `languages` has, for every language that was evaluated,
    its entry of `evaluation.json`; `missing` says of every other one that was asked for why it
    was not. `outside` are languages that no suite lists for the task: they have scores, and no
    part in the means. Of a module that was trained with several seeds, `seeds_of` names all of
    them (`xnli-on-mnli-s*`) and `seed` is this one's. `folder` is that of the predictions, as a
    whole path; `folders` names, by language, those that lie elsewhere (with `lang:*`, every
    language's do).
    """

    task: str
    split: Split
    composition: str
    folder: Path
    metric: str
    languages: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, str]
    outside: tuple[str, ...] = ()
    seeds_of: str = ""
    seed: int | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)

    def folder_of(self, language: str) -> Path:
        """The folder that a language's entry names its file in."""
        return self.folders.get(language, self.folder)

    @property
    def partial(self) -> bool:
        """Whether a language that was asked for could not be evaluated."""
        return bool(self.missing)

    @property
    def scores(self) -> dict[str, Scores]:
        """Scores in percent by language; languages without labels have none."""
        return {
            language: entry["scores"]
            for language, entry in self.languages.items()
            if entry["labelled"]
        }

    @property
    def average(self) -> dict[str, float]:
        """The mean of every metric over the suites' languages that have scores."""
        return _mean(self._counting)

    @property
    def _counting(self) -> dict[str, Scores]:
        return {name: each for name, each in self.scores.items() if name not in self.outside}

    @property
    def english(self) -> dict[str, float]:
        """The English scores; empty where English is not among the languages."""
        return dict(self.scores.get(ENGLISH, {}))

    @property
    def without_english(self) -> dict[str, float]:
        """The mean of every metric over the other languages."""
        return _mean({name: each for name, each in self._counting.items() if name != ENGLISH})

    @property
    def gap(self) -> dict[str, float]:
        """The transfer gap: the English score minus the mean of the others (Hu et al. 2020)."""
        others = self.without_english
        return {name: value - others[name] for name, value in self.english.items() if others}

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """All of these by their names."""
        return {name: getattr(self, name) for name in MEANS}

    @property
    def vectors(self) -> list[tuple[Any, ...]]:
        """Layer, pooling and rule of a retrieval task's vectors; several where languages differ."""
        keys = ("layer", "pooling", "layer_rule")
        details = [each.get("details", {}) for each in self.languages.values()]
        made = [tuple(each.get(key, "") for key in keys) for each in details if "layer" in each]
        return list(dict.fromkeys(made))

    def summary(self) -> str:
        """The task, the composition, and the mean score."""
        mean = self.average.get(self.metric)
        none = "no average" if any(self.scores.values()) else "no labels"
        said = none if mean is None else f"{self.metric} {mean:.1f}"
        over = counted(len(self.languages), "language")
        return f"{self.task} {self.split}, {self.composition}: {said} over {over}"

    def records(self) -> list[dict[str, Any]]:
        """A row a language, with all its scores."""
        about: dict[str, Any] = {"task": self.task, "split": self.split}
        about["composition"] = self.composition
        about |= {"seed": self.seed} if self.seeds_of else {}
        return [
            {**about, "language": language, "examples": entry["examples"], **entry["scores"]}
            for language, entry in self.languages.items()
        ]

    def plot(self) -> Picture:
        """The score of every language as a bar."""
        return Evaluations([self]).plot()

    def as_dict(self) -> dict[str, Any]:
        """Everything above as JSON can write it."""
        return {
            "task": self.task,
            "split": self.split,
            "composition": self.composition,
            **({"seeds_of": self.seeds_of, "seed": self.seed} if self.seeds_of else {}),
            "folder": str(self.folder),
            "metric": self.metric,
            "languages": {name: dict(entry) for name, entry in self.languages.items()},
            "missing": dict(self.missing),
            "partial": self.partial,
            "outside": list(self.outside),
            **self.means,
            **self._vectors_as_dict(),
        }

    def _vectors_as_dict(self) -> dict[str, Any]:
        """Layer, pooling and rule; None where languages differ, whose entries say it then."""
        if not (made := self.vectors):
            return {}
        keys = ("layer", "pooling", "layer_rule")
        return dict(zip(keys, made[0] if len(made) == 1 else (None, None, None), strict=True))


class Evaluations(list[Evaluation], Result):
    """What `evaluate` returns: one `Evaluation` a composition, and all of them side by side."""

    def summary(self) -> str:
        """The number of compositions and what they were evaluated on."""
        if len(self) == 1:
            return self[0].summary()
        names = ", ".join(each.composition for each in self)
        on = f" on {self[0].task} {self[0].split}" if self else ""
        return f"{len(self)} compositions{on}: {names}"

    def records(self) -> list[dict[str, Any]]:
        """A row a composition and language."""
        return [record for each in self for record in each.records()]

    def plot(self) -> Picture:
        """The scores by language, a bar a composition.

        Raises:
            UserError: no language has labels, so there are no scores.
        """
        metric = self[0].metric if self else ""
        rows = [record for record in self.records() if metric in record]
        if not rows:
            raise UserError("there are no scores to draw: none of the languages has labels")
        series = "composition" if len(self) > 1 else ""
        drawn = bars(rows, label="language", value=metric, series=series, title=self.summary())
        return Picture.from_vega_lite(drawn)

    __repr__ = Result.__repr__


def _mean(scores: Mapping[str, Scores]) -> dict[str, float]:
    if not scores:
        return {}
    first, *others = scores.values()
    shared = [name for name in first if all(name in each for each in others)]
    return {name: fmean(each[name] for each in scores.values()) for name in shared}


def outside_suites(target: TargetSpec, languages: Iterable[str]) -> tuple[str, ...]:
    """Which languages have no part in the means: those that no suite lists for the task.

    Others that the task knows by name (MLQA's pairs) have one where none of a suite's is there.
    """
    there = list(languages)
    listed = set(target.languages)
    if not listed.intersection(there):
        listed |= set(target.others)
    return tuple(language for language in there if language not in listed)


MEANS = ("average", "english", "without_english", "gap")


@dataclass(frozen=True)
class SeedSummary:
    """The evaluations of one composition, by seed."""

    evaluations: tuple[Evaluation, ...]

    @property
    def composition(self) -> str:
        """The composition, with all seeds named."""
        return self.evaluations[0].seeds_of

    @property
    def scores(self) -> dict[str, dict[str, Spread]]:
        """Of every language that has scores in all seeds, those of each metric."""
        first = self.evaluations[0].scores
        return {
            language: spreads([each.scores[language] for each in self.evaluations])
            for language in first
            if all(language in each.scores for each in self.evaluations)
        }

    @property
    def means(self) -> dict[str, dict[str, Spread]]:
        """Those of the seeds' averages, English scores, means without English and gaps, by name."""
        every = [each.means for each in self.evaluations]
        return {name: spreads([means[name] for means in every]) for name in MEANS}

    @property
    def vectors(self) -> list[tuple[Any, ...]]:
        """Where the sentence vectors of a retrieval task come from, as of `Evaluation.vectors`."""
        return list(dict.fromkeys(made for each in self.evaluations for made in each.vectors))

    def as_dict(self) -> dict[str, Any]:
        """Every seed and the summary, as JSON can write it."""
        return {
            "task": self.evaluations[0].task,
            "split": self.evaluations[0].split,
            "composition": self.composition,
            "metric": self.evaluations[0].metric,
            "seeds": [each.as_dict() for each in self.evaluations],
            "summary": {
                "languages": {name: _plain(each) for name, each in self.scores.items()},
                **{name: _plain(each) for name, each in self.means.items()},
            },
        }


def _plain(found: Mapping[str, Spread]) -> dict[str, Any]:
    return {metric: each.as_dict() for metric, each in found.items()}


def group_seeds(evaluations: Sequence[Evaluation]) -> list[Evaluation | SeedSummary]:
    """The seeds of one composition together, in the place of the first."""
    found: dict[str, list[Evaluation]] = {}
    for place, each in enumerate(evaluations):
        found.setdefault(each.seeds_of or f"{place}", []).append(each)
    return [
        SeedSummary(tuple(group)) if group[0].seeds_of else group[0] for group in found.values()
    ]
