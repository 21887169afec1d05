"""One training as it was asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.data.given import given_files
from adapter_stilts.tasks.spec import Split
from adapter_stilts.training.folders import unfinished
from adapter_stilts.training.recipe import Recipe, as_json
from adapter_stilts.training.spec import TrainingSpec


@dataclass(frozen=True)
class Request:
    """The arguments of `train_adapter`, with every default written out."""

    spec: TrainingSpec
    recipe: Recipe
    backbone: Backbone
    name: str
    folder: Path
    data: str | None
    seed: int
    limit: int | None
    dev_limit: int | None
    skip_bad_rows: bool
    resume: bool
    overwrite: bool
    report_to: str
    quiet: bool

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """What was chosen, by the names of options, as JSON has it.

        Args:
            recipe: the one asked for, completed (`planning.scheduled`).
        """
        files = given_files(self.spec.tasks[0])
        splits: tuple[Split, ...] = ("train", "dev")
        own: dict[str, Any] = {
            "backbone": self.backbone.name,
            "data": self.data,
            "seed": self.seed,
            "limit": self.limit,
            "dev_limit": self.dev_limit,
            "skip_bad_rows": self.skip_bad_rows,
            **{f"{each}_file": str(files[each]) if each in files else None for each in splits},
            "on": self.spec.on.text if self.spec.on else None,
            "fresh_head": self.spec.fresh_head,
        }
        if mixture := self.spec.mixture:
            own |= {"tasks": [task.name for task in self.spec.tasks]}
            own |= {"temperature": mixture.temperature}
            own |= {"normalise_losses": mixture.normalise_losses}
            own |= {"mlm_share": mixture.text.share if mixture.text else None}
        return {**as_json(recipe), **own}

    @property
    def limits(self) -> dict[str, int]:
        """How many examples are drawn of each task, where a number was given."""
        numbers = {"limit": self.limit, "dev_limit": self.dev_limit}
        return {name: number for name, number in numbers.items() if number is not None}

    @property
    def work(self) -> Path:
        """The folder of the checkpoints."""
        return unfinished(self.folder)
