"""Scores of items, and what they become when the items are drawn anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_CHUNK = 250
"""Draws at a time: their weights are kept in memory."""


@dataclass(frozen=True)
class Sample:
    """What several arms reach on the same items of some languages.

    A score is a share in percent: 100 * sum of numerators / sum of denominators. Of a mean, an
    item's are its score (0 to 1) and 1; of seqeval's F1, a sentence's are 2 tp and 2 tp + fp + fn.

    Args:
        clusters: by language the cluster of every item, counted from 0, (items,). What is drawn
            are clusters: an item that is one by itself, or an article with all its questions.
        arms: by arm and language the counts of every item, (S1, S2, items, 2), with the
            intermediate modules' seeds first and the target modules' second. An arm without one
            of the stages has one seed there.
        parallel: a cluster is the same in all languages, translated, and drawn for all at once.

    Raises:
        ValueError: the arms differ in languages or items, or there is only one cluster to draw.
    """

    clusters: Mapping[str, Ints]
    arms: Mapping[str, Mapping[str, Floats]]
    parallel: bool

    def __post_init__(self) -> None:
        for arm, by_language in self.arms.items():
            if by_language.keys() != self.clusters.keys():
                raise ValueError(f"'{arm}' has other languages: {', '.join(by_language)}")
            for language, counts in by_language.items():
                if counts.ndim != 4 or counts.shape[2:] != (len(self.clusters[language]), 2):
                    raise ValueError(f"'{arm}' in '{language}' has other items: {counts.shape}")
            if len({counts.shape[:2] for counts in by_language.values()}) > 1:
                raise ValueError(f"'{arm}' has not the same seeds in all languages")
        for language, count in self.drawn.items():
            if count < 2:
                raise ValueError(f"'{language}' has one cluster of items: nothing can be drawn")

    @property
    def languages(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self.clusters)

    @property
    def drawn(self) -> dict[str, int]:
        """The number of clusters that are drawn from, by language."""
        counts = {language: int(each.max()) + 1 for language, each in self.clusters.items()}
        return dict.fromkeys(counts, max(counts.values())) if self.parallel else counts

    @property
    def free(self) -> int:
        """Degrees of freedom of the items."""
        counts = self.drawn.values()
        return max(counts) - 1 if self.parallel else sum(count - 1 for count in counts)

    def only(self, kept: Mapping[str, Bools]) -> Sample | None:
        """The same with some of the items: None where they allow no interval.

        Args:
            kept: by language, which items stay, (items,). A language of which fewer than two
                clusters stay is left out.
        """
        clusters = {name: each[kept[name]] for name, each in self.clusters.items() if name in kept}
        clusters = {name: each for name, each in clusters.items() if len(np.unique(each)) > 1}
        if not clusters:
            return None
        every = np.unique(np.concatenate(list(clusters.values())))
        numbered = {
            name: np.searchsorted(every if self.parallel else np.unique(each), each)
            for name, each in clusters.items()
        }
        arms = {
            arm: {name: by_language[name][:, :, kept[name]] for name in clusters}
            for arm, by_language in self.arms.items()
        }
        return Sample(numbered, arms, self.parallel)

    def seeds(self, arm: str) -> tuple[int, int]:
        """How many seeds an arm has, of the intermediate modules and of the target's."""
        first, second = next(iter(self.arms[arm].values())).shape[:2]
        return first, second

    def scores(self) -> dict[str, Floats]:
        """By arm, the scores of the items as they are: (1, languages, S1, S2)."""
        whole = {language: np.ones((1, count)) for language, count in self.drawn.items()}
        return self._weigh(self._sums(), whole)

    def resample(self, random: np.random.Generator, draws: int) -> dict[str, Floats]:
        """By arm, the scores in every draw of the clusters: (draws, languages, S1, S2).

        One cluster fewer than there are is drawn, with replacement, which makes the variance of
        the draws that of the score, without bias (Rao and Wu 1988, "Resampling inference with
        complex survey data", JASA 83).
        """
        sums, parts = self._sums(), []
        for first in range(0, draws, _CHUNK):
            size = min(_CHUNK, draws - first)
            if self.parallel:
                weights = dict.fromkeys(
                    self.clusters, draw_weights(random, size, max(self.drawn.values()))
                )
            else:
                weights = {
                    language: draw_weights(random, size, count)
                    for language, count in self.drawn.items()
                }
            parts.append(self._weigh(sums, weights))
        return {arm: np.concatenate([part[arm] for part in parts]) for arm in self.arms}

    def _sums(self) -> dict[str, dict[str, Floats]]:
        """The counts of every cluster: (clusters, S1 * S2 * 2)."""
        found: dict[str, dict[str, Floats]] = {}
        for arm, by_language in self.arms.items():
            found[arm] = {}
            for language, counts in by_language.items():
                rows = counts.transpose(2, 0, 1, 3).reshape(counts.shape[2], -1)
                found[arm][language] = np.zeros((self.drawn[language], rows.shape[1]))
                np.add.at(found[arm][language], self.clusters[language], rows)
        return found

    def _weigh(
        self, sums: Mapping[str, Mapping[str, Floats]], weights: Mapping[str, Floats]
    ) -> dict[str, Floats]:
        return {
            arm: np.stack(
                [_shares(weights[lang] @ sums[arm][lang], self.seeds(arm)) for lang in sums[arm]],
                axis=1,
            )
            for arm in sums
        }


def draw_weights(random: np.random.Generator, draws: int, count: int) -> Floats:
    """How often each of `count` is drawn, over their mean: (draws, count); see `resample`.

    A single one is never drawn anew: it stays.
    """
    if count == 1:
        return np.ones((draws, 1))
    drawn = random.integers(count, size=(draws, count - 1)) + count * np.arange(draws)[:, None]
    times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
    return np.asarray(times * (count / (count - 1)))


def _shares(sums: Floats, seeds: tuple[int, int]) -> Floats:
    """Percent of numerators in denominators, (draws, S1, S2); 0 where nothing is counted."""
    pairs = sums.reshape(len(sums), *seeds, 2)
    there = pairs[..., 1] > 0
    zeros = np.zeros(there.shape)
    return np.asarray(100 * np.divide(pairs[..., 0], pairs[..., 1], out=zeros, where=there))


@dataclass(frozen=True)
class Target:
    """A target task of a comparison: its test sets, and English dev, which chooses between arms."""

    name: str
    test: Sample
    dev: Sample | None = None
