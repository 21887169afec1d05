"""The recipe beside a module: the file that its card's command names."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapter_stilts.zoo.record import ModuleRecord

RECIPE = "recipe.yaml"
ASKED = "asked"
"""In a record's recipe: the fields as they were asked for, where those of the whole training are
needed to make it again (a stage of several)."""
BESIDE = (
    ASKED,
    "seed",
    "limit",
    "dev_limit",
    "fresh_head",
    "temperature",
    "normalise_losses",
    "mlm_text",
    "mlm_languages",
    "mlm_share",
)
"""What a record's recipe tells besides the recipe's own fields."""


def write_recipe(record: ModuleRecord, folder: Path) -> None:
    """Writes every field of the recipe as YAML, for `--recipe`; of a merge there is none."""
    if record.merged:
        return
    asked = record.recipe.get(ASKED)
    fields = {**record.recipe, **(asked if isinstance(asked, dict) else {})}
    own = {key: value for key, value in fields.items() if key not in BESIDE}
    about = f"# The settings of {record.name} (run {record.run}), for --recipe.\n"
    text = yaml.safe_dump(own, sort_keys=False, allow_unicode=True)
    (folder / RECIPE).write_text(about + text, encoding="utf-8")
