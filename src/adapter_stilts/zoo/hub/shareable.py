"""What of a module's record others are to see."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.errors import UserError
from adapter_stilts.modules.guard import check_module
from adapter_stilts.safety import is_number, read_json
from adapter_stilts.zoo.hub.ids import is_hub_id
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve_folder


def shareable(folder: Path, backbone: str | None) -> ModuleRecord:
    """The record as others are to see it: without the paths of this machine.

    Raises:
        UserError: the module is damaged, or somebody else's, or its backbone is a folder here.
    """
    record = ModuleRecord.read(folder)
    check_module(folder, record.method)
    record.verify(folder)
    if not record.task:
        raise UserError(f"{folder} was not trained here: share it from where it comes from")
    name = backbone or record.backbone.get("name", "")
    if name != EMBEDDED and (Path(name).exists() or not is_hub_id(hub_id(name))):
        raise UserError(
            f"{folder} was trained on a backbone in the folder {name}, which others do not have: "
            "give its id on the Hub as --backbone"
        )
    bases = {key: {**base, "path": base.get("hub", "")} for key, base in record.bases.items()}
    data = {key: _without_paths(value) for key, value in record.data.items()}
    return dataclasses.replace(
        record,
        backbone={**record.backbone, "name": name},
        bases=bases,
        data=data,
        merged={key: _without_paths(value) for key, value in record.merged.items()},
        origin={},
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
