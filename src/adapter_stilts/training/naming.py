"""What a module is called, and where it lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import Backbone, find_backbone
from adapter_stilts.modules.methods import get_method
from adapter_stilts.paths import zoo_dir
from adapter_stilts.training.lesson import Lesson
from adapter_stilts.training.recipe import Recipe, get_recipe
from adapter_stilts.zoo.resolved import Resolved


def chosen_recipe(recipe: str | Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe, or the one of that name, with changes."""
    return (get_recipe(recipe) if isinstance(recipe, str) else recipe).replace(**changes)


def default_folder(backbone: Backbone, name: str, on: Resolved | None) -> Path:
    """Where a module lies in the zoo."""
    return zoo_dir() / backbone.slug / folder_name(name, on)


def module_folder(
    lesson: Lesson,
    *,
    backbone: str,
    recipe: str | Recipe = "default",
    out: str | Path | None = None,
    method: str | None = None,
    **ignored: Any,
) -> Path:
    """Where `train_adapter` writes the module, given the same options."""
    if out:
        return Path(out)
    name = module_name(lesson, chosen_recipe(recipe, {"method": method}).method)
    return default_folder(find_backbone(backbone), name, lesson.on)


def module_name(lesson: Lesson, method: str) -> str:
    """What a module is called in compositions."""
    method = get_method(method).name  # however it was spelt
    return lesson.name if method == lesson.usual_method else f"{lesson.name}-{method}"


def folder_name(name: str, on: Resolved | None) -> str:
    """The folder of a module in the zoo: `tydiqa-on-squad` for `stack(squad, tydiqa)`."""
    if on is None:
        return name
    below = re.sub(r"[^A-Za-z0-9_.+-]+", "-", on.text).strip("-")
    return f"{name}-on-{below}"
