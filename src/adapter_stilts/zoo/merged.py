"""Merges over the zoo: whether modules can be merged, and what a merge says of itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from adapter_stilts.engine.composition import Call, Expression, canonical, merges, module_names
from adapter_stilts.engine.methods import get_method, is_invertible
from adapter_stilts.engine.native import CONFIG, FILES, WEIGHTS, check_files
from adapter_stilts.errors import UserError
from adapter_stilts.merging.terms import Terms
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord

_FREE = ("dropout", "init_weights", "init_weights_seed", "leave_out", "reduction_factor")
"""What modules may differ in, as far as their tensors have the same shapes."""

_Shapes = dict[str, tuple[int, ...]]


def check_merged_kinds(expression: Expression, methods: Mapping[str, str]) -> None:
    """Refuses merges of modules that are not of one kind, or of a kind that cannot be merged.

    Args:
        methods: the method of every module by its name.

    Raises:
        UserError: names the two, and what would work.
    """
    for merge in merges(expression):
        names = module_names(merge)
        for name in names:
            _check_kind(names[0], name, methods)


def check_merged_shapes(
    expression: Expression, records: Mapping[str, ModuleRecord], folders: Mapping[str, Path]
) -> None:
    """Refuses merges of modules of unlike shape, by what their files say; no weights are read.

    Raises:
        UserError: names two modules and what they differ in.
    """
    for merge in merges(expression):
        assert merge.terms is not None
        names = module_names(merge)
        lora = get_method(records[names[0]].method).family == "lora"
        if not lora and (merge.terms.rank or merge.terms.lora != "products"):
            raise UserError(
                f"'{names[0]}' is no LoRA: the options rank and lora of {merge.operator} are "
                "for these"
            )
        for name in names[1:]:
            _check_shape(names[0], name, records, folders, merge.terms)


def _check_kind(first: str, name: str, methods: Mapping[str, str]) -> None:
    method = get_method(methods[name])
    if method.family not in ("bottleneck", "lora") or method.name == "head":
        raise UserError(
            f"'{name}' ({method.name}) cannot be merged: bottleneck modules and LoRAs can"
        )
    if is_invertible(method.name):
        raise UserError(
            f"'{name}' ({method.name}) cannot be merged: its part at the embeddings is no sum, of "
            "which there could be a mean"
        )
    if method.family != get_method(methods[first]).family:
        raise UserError(
            f"'{first}' ({methods[first]}) and '{name}' ({method.name}) are of two kinds: merge "
            "bottleneck modules with each other, or LoRAs with each other"
        )


def _check_shape(
    first: str,
    name: str,
    records: Mapping[str, ModuleRecord],
    folders: Mapping[str, Path],
    terms: Terms,
) -> None:
    what = f"'{first}' and '{name}' cannot be merged"
    remedy = "train one of them again in the shape of the other"
    mine, theirs = (_shapes(folders[each], records[each].name, terms) for each in (first, name))
    if odd := sorted(mine.keys() ^ theirs.keys()):
        has = first if odd[0] in mine else name
        raise UserError(f"{what}: only '{has}' has {odd[0]} ({remedy})")
    for key, shape in mine.items():
        if shape != theirs[key]:
            ranks = key.endswith(("lora_A", "lora_B"))
            raise UserError(
                f"{what}: {key} has the shape {shape} in one and {theirs[key]} in the other ("
                + ("with lora=products, ranks may differ)" if ranks else f"{remedy})")
            )
    settings = [_config(folders[each]) for each in (first, name)]
    if terms.lora == "products":
        settings = [{k: v for k, v in each.items() if k not in ("r", "alpha")} for each in settings]
    for key in sorted(settings[0].keys() | settings[1].keys()):
        if key not in (*_FREE, "alpha") and settings[0].get(key) != settings[1].get(key):
            raise UserError(
                f"{what}: '{key}' is {settings[0].get(key)} in one and {settings[1].get(key)} in "
                f"the other ({remedy})"
            )


def _shapes(folder: Path, name: str, terms: Terms) -> _Shapes:
    """The shape of every tensor of a module by its name without that of the module."""
    check_files(folder, FILES[:1])
    shapes: _Shapes = {}
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        for key in file.keys():  # noqa: SIM118
            general = ".".join("*" if part == name else part for part in key.split("."))
            shape = tuple(file.get_slice(key).get_shape())
            if terms.lora == "products" and general.endswith(("lora_A", "lora_B")):
                shape = shape[1:] if general.endswith("A") else shape[:1]
            shapes[general] = shape
    return shapes


def _config(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config = found.get("config") if isinstance(found, dict) else None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG}: not the configuration of a module")
    return config


def merged_record(merge: Call, records: Mapping[str, ModuleRecord]) -> ModuleRecord:
    """What is known of a merge before it is computed: that of its modules, but for the head."""
    sources = [records[name] for name in module_names(merge)]
    longest = max(int(each.recipe.get("max_length", 0)) for each in sources)
    written = canonical(merge)
    return dataclasses.replace(
        sources[0],
        name=written,
        run="",
        task="",
        head=NO_HEAD,
        composition=written,
        recipe={"max_length": longest, "stride": sources[0].recipe.get("stride", 0)},
        data={},
        scores={},
        no_answer_threshold=None,
        heads={},
        spec={},
        files={},
        bases={},
    )
