"""What a module is called, and where it lies."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import Backbone
from adapter_stilts.engine.methods import get_method
from adapter_stilts.errors import UserError
from adapter_stilts.training.recipe import RECIPES, Recipe, get_recipe
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.zoo.choice import backbone_folder
from adapter_stilts.zoo.names import folder_name, seeded
from adapter_stilts.zoo.resolved_composition import ResolvedComposition

logger = logging.getLogger(__name__)


def chosen_recipe(
    recipe: str | Recipe, changes: Mapping[str, Any], usual: str = "default"
) -> Recipe:
    """A recipe, or the one of that name, with changes, which win.

    Args:
        recipe, usual: as of `get_recipe`.
        changes: fields to change; None leaves one as it is.

    Raises:
        UserError: as of `get_recipe`; or no passes at all are asked for.
    """
    if changes.get("epochs") == 0:  # in a recipe, 0 leaves the number to the rule
        raise UserError("recipe: epochs must be above 0, not 0")
    return (get_recipe(recipe, usual) if isinstance(recipe, str) else recipe).replace(**changes)


def warn_of_other_method(recipe: str | Recipe, method: str | None) -> None:
    """Says so where a recipe file is for another method than the one that is asked for."""
    if not isinstance(recipe, str) or recipe in RECIPES or method is None:
        return
    other, chosen = get_recipe(recipe).method, get_method(method).name
    if get_method(other).name != chosen:
        logger.warning(
            "%s is for the method %s: %s wins, and its other settings are kept",
            recipe,
            other,
            chosen,
        )


def default_folder(
    backbone: Backbone, name: str, on: ResolvedComposition | None, seed: int = 0
) -> Path:
    """Where a module lies in the zoo: `tydiqa-on-squad`, and of seed 1 `tydiqa-on-squad-s1`."""
    return backbone_folder(backbone) / seeded(folder_name(name, on.text if on else ""), seed)


def module_name(spec: TrainingSpec, method: str) -> str:
    """What a module is called in compositions."""
    method = get_method(method).name  # however it was spelt
    return spec.name if method == spec.usual_method else f"{spec.name}-{method}"
