"""One composition in several seeds: mean and standard deviation of every score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.summary import Evaluation
from adapter_stilts.metrics import Spread
from adapter_stilts.zoo.names import names_seeds

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
    def average(self) -> dict[str, Spread]:
        """That of the seeds' averages."""
        return self._mean("average")

    @property
    def english(self) -> dict[str, Spread]:
        """That of the seeds' English scores."""
        return self._mean("english")

    @property
    def without_english(self) -> dict[str, Spread]:
        """That of the seeds' means over the other languages."""
        return self._mean("without_english")

    @property
    def gap(self) -> dict[str, Spread]:
        """That of the seeds' transfer gaps."""
        return self._mean("gap")

    @property
    def vectors(self) -> list[tuple[Any, ...]]:
        """Where the sentence vectors of a retrieval task come from, as of `Evaluation.vectors`."""
        return list(dict.fromkeys(made for each in self.evaluations for made in each.vectors))

    def _mean(self, name: str) -> dict[str, Spread]:
        return spreads([getattr(each, name) for each in self.evaluations])

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
                **{name: _plain(getattr(self, name)) for name in MEANS},
            },
        }


def spreads(scores: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Of every metric that all have."""
    return {
        metric: Spread.of([each[metric] for each in scores])
        for metric in scores[0]
        if all(metric in each for each in scores)
    }


def _plain(found: Mapping[str, Spread]) -> dict[str, Any]:
    return {metric: each.as_dict() for metric, each in found.items()}


def grouped(evaluations: Sequence[Evaluation]) -> list[Evaluation | SeedSummary]:
    """The seeds of one composition together, in the place of the first."""
    found: dict[str, list[Evaluation]] = {}
    for place, each in enumerate(evaluations):
        found.setdefault(each.seeds_of or f"{place}", []).append(each)
    return [
        SeedSummary(tuple(group)) if group[0].seeds_of else group[0] for group in found.values()
    ]


def check_no_seeds(compositions: Sequence[str], where: str) -> None:
    """Refuses compositions that name all seeds, where only one is taken.

    Raises:
        UserError: names the first.
    """
    for text in compositions:
        if names_seeds(text):
            raise UserError(f"'{text}' names all seeds, which cannot be done {where}: name one")
