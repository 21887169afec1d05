"""What of a module's record others are to see."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.storage import halve
from adapter_stilts.engine.weights import check_weights
from adapter_stilts.errors import UserError
from adapter_stilts.safety import first_line, is_number, read_json
from adapter_stilts.zoo.agreement import check_stored
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.choice import place_of
from adapter_stilts.zoo.hub.ids import is_hub_id
from adapter_stilts.zoo.recipe_file import write_recipe
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve_folder


def shareable(folder: Path, backbone: str | None) -> ModuleRecord:
    """The record as others are to see it: without the paths of this machine.

    Raises:
        UserError: the module is damaged, or somebody else's, or its backbone is a folder here.
    """
    record = ModuleRecord.read(folder)
    check_stored(record, folder)
    for name in record.files:
        if name.endswith(".safetensors"):
            check_weights(folder / name)
    if not record.task:
        raise UserError(f"{folder} was not trained here: share it from where it comes from")
    name = place_of(backbone, record.backbone.get("name", ""))
    if name != EMBEDDED and (Path(name).exists() or not is_hub_id(hub_id(name))):
        raise UserError(
            f"{folder} was trained on a backbone in the folder {name}, which others do not have: "
            "give its id on the Hub as --backbone"
        )
    bases = {key: {**base, "path": base.get("hub", "")} for key, base in record.bases.items()}
    clean: dict[str, Any] = {
        name: {key: _without_paths(value) for key, value in getattr(record, name).items()}
        for name in ("data", "heads", "merged", "recipe")
    }
    return dataclasses.replace(
        record,
        backbone={**record.backbone, "name": name},
        bases=bases,
        origin={},
        **clean,
    )


_BACKBONE_IN = {
    "adapter_config.json": ("model_name", "base_model_name_or_path"),
    "adapter_fusion_config.json": ("model_name",),
    "head_config.json": ("model_name",),
}
"""Where the libraries write down the backbone: a folder, if it was loaded from one."""


def stage(
    record: ModuleRecord, folder: Path, work: Path, *, repo: str = "", half: bool = False
) -> ModuleRecord:
    """Copies a module as others are to see it: the files that its record names, and a new card.

    Args:
        record: what `shareable` made of it.
        work: an empty folder.
        repo: where it will lie on the Hub.
        half: store weights in half precision.

    Returns:
        The record with the hashes of the copy.

    Raises:
        UserError: the record lacks what the card tells.
    """
    for name in record.files:
        copy = work / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, copy)
        if half and copy.suffix == ".safetensors":
            halve(copy)
        try:
            _name_backbone(copy, hub_id(record.backbone["name"]))
        except AttributeError as error:
            raise UserError(f"{folder / name}: no configuration of a module") from error
    try:
        write_recipe(record, work)
        write_card(record, work, peft=(work / "peft").is_dir(), repo=repo)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / RECORD}: what a card tells is not there as it should be "
            f"({first_line(error)}): share the module from where it comes from"
        ) from error
    return record.write(work)


def _name_backbone(path: Path, name: str) -> None:
    fields = _BACKBONE_IN.get(path.name, ())
    if fields:
        about = read_json(path)
        about.update({key: name for key in fields if about.get(key)})
        path.write_text(
            json.dumps(about, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def _without_paths(value: object) -> object:
    """What a record says of data, without the folders it lay in."""
    if isinstance(value, dict):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    is_path = isinstance(value, str) and (value.startswith(("/", "~", ".")) or value[1:3] == ":\\")
    return os.path.basename(str(value)) if is_path else value  # noqa: PTH119


def evaluations(folder: Path, predictions: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by task and language from a folder that `evaluate` wrote.

    Raises:
        UserError: it is none, or of another composition.
    """
    path = predictions / "evaluation.json"
    about = read_json(path)
    try:
        identity = about["composition"]["identity"]
        found = {
            task: {
                language: {key: value for key, value in entry["scores"].items() if is_number(value)}
                for language, entry in splits["test"].items()
                if entry["labelled"]
            }
            for task, splits in about["results"].items()
            if "test" in splits
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not what `adstilts evaluate` writes") from error
    if identity != resolve_folder(folder).identity:
        raise UserError(f"{path} has the scores of another composition than {folder}")
    return {task: languages for task, languages in found.items() if languages}
