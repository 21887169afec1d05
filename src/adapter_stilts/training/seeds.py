"""The same training with several seeds, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.display import Picture, Result, bars
from adapter_stilts.errors import UserError
from adapter_stilts.metrics import Spread
from adapter_stilts.training.checks import check_numbers
from adapter_stilts.training.run import Trained
from adapter_stilts.zoo.names import ALL_SEEDS, seeded, series_name


@dataclass(frozen=True, repr=False)
class Series(Result):
    """What several seeds made, by seed."""

    trained: Mapping[int, Trained]

    @property
    def name(self) -> str:
        """What stands for all of them in a composition, as `squad-s*`."""
        seed, first = next(iter(self.trained.items()))
        return series_name(first.path, seed) + ALL_SEEDS

    @property
    def scores(self) -> dict[str, Spread]:
        """The mean of every dev score, and its standard deviation over the seeds."""
        found = [each.record.scores for each in self.trained.values()]
        return {
            metric: Spread.of([each[metric] for each in found])
            for metric in found[0]
            if all(metric in each for each in found)
        }

    def summary(self) -> str:
        """The name that stands for all seeds, and the mean of every score."""
        scores = ", ".join(f"{metric} {each}" for metric, each in self.scores.items())
        return f"{self.name}: dev {scores} (seeds {', '.join(map(str, self.trained))})"

    def records(self) -> list[dict[str, Any]]:
        """A row a seed, with its dev scores."""
        return [
            {"seed": seed, "module": each.path.name, **each.record.scores}
            for seed, each in self.trained.items()
        ]

    def plot(self) -> Picture:
        """The dev score of every seed."""
        metric = next(iter(self.scores))
        rows = [{**record, "seed": f"seed {record['seed']}"} for record in self.records()]
        return Picture.from_vega_lite(bars(rows, label="seed", value=metric, title=self.summary()))


def train_seeds(
    train: Callable[..., Trained], *given: Any, seeds: Sequence[int], **options: Any
) -> Series:
    """Trains with one seed after the other; every module has its own folder.

    The module of seed 0 lies at `NAME`, those of others at `NAME-sSEED`; given `out`, at `OUT` and
    `OUT-sSEED`. Interrupted, the same call with `resume=True` goes on where it stopped.

    Args:
        train: `train_adapter`, `train_target`, `fuse` or `train_multitask`.
        given, options: what it takes.
        seeds: at least one, none of them twice.

    Raises:
        UserError: as of `train`; no seed, one that cannot be, or one twice.
    """
    if not seeds:
        raise UserError("seeds: name some, such as 0,1,2")
    for place, seed in enumerate(seeds):
        check_numbers(seed=seed, limit=None, dev_limit=None)
        if seed in seeds[:place]:
            raise UserError(f"seeds: {seed} is given twice")
    out = options.pop("out", None)
    made: dict[int, Trained] = {}
    for seed in seeds:
        folder = None if out is None else Path(out).with_name(seeded(Path(out).name, seed))
        later = [each for each in seeds if each not in made]
        made[seed] = train(*given, **options, seed=seed, out=folder, series=later)
    return Series(made)


def parse_seeds(text: str) -> list[int]:
    """Seeds as they are written on a command line: `0,1,2`.

    Raises:
        UserError: something else than numbers with commas between.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 10 for part in parts):
        raise UserError(f"seeds '{text}': numbers with commas between, such as 0,1,2")
    return [int(part) for part in parts]
