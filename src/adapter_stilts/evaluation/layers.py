"""Which layer sentence vectors are taken from: by a rule, or by a sweep over dev data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import EMBEDDED
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.files import write_whole
from adapter_stilts.evaluation.sweep import Sweep, has_translations
from adapter_stilts.modules.engine import Engine
from adapter_stilts.tasks.target_spec import TargetSpec
from adapter_stilts.zoo.composed import Composed

RECORD = "layer.json"


@dataclass(frozen=True)
class LayerChoice:
    """A layer and a pooling, and why they were chosen.

    `scores` are the mean dev scores by pooling and layer (from 0 on), empty where a rule chose;
    `data` are the fingerprints of the dev data behind them.
    """

    layer: int
    pooling: str
    rule: str
    scores: dict[str, list[float]]
    data: list[str]


def default_layer(engine: Engine, composed: Composed) -> int:
    """The layer by rule, where nothing was swept.

    The last one of what was trained for its sentence vectors: a dual encoder, or the embedded
    backbone without modules. Else the middle one: XTREME takes layer 14 of XLM-R Large's 24
    (Hu et al. 2020; `specific_layer` 13, counted from 0, in scripts/run_tatoeba.sh), scaled to
    the backbone's number of layers.
    """
    record = composed.record
    dual_encoder = record is not None and record.head == "embedding"
    if dual_encoder or (record is None and engine.backbone.name == EMBEDDED):
        return engine.layers
    return round(engine.layers * 14 / 24)


def sweep_layers(
    engine: Engine,
    composed: Composed,
    target: TargetSpec,
    languages: Sequence[str],
    where: str | None,
    *,
    folder: Path | None = None,
    on: TargetSpec | None = None,
    poolings: Sequence[str] = ("mean",),
    max_length: int | None = None,
    batch_tokens: int = 8192,
    overwrite: bool = False,
) -> LayerChoice:
    """Chooses a layer before anything of the test data is looked at.

    Where sentences and their translations are given as dev data, of the target itself (BUCC) or
    of another task the user names (`on`, for Tatoeba, which has none), every layer is tried on
    them, and the one with the highest score in the mean of the languages is taken; of equals the
    lowest. Accuracy counts for translations by position, F1 at the best threshold for mining.
    Else `default_layer` decides: candidates to be ranked are too many to try every layer.

    Args:
        languages: of the target; those without dev data are passed over. With `on`, all of that
            task's languages that the data has count in their place.
        where: as in `load_examples`.
        folder: where the choice is recorded, as `layer.json`. One that is recorded there already
            stays, whatever else is given.
        poolings: those to try.
        overwrite: replace the choice made for another composition.

    Raises:
        UserError: `on` has no such dev data; the folder holds another composition's choice.
    """
    known = _recorded(folder, engine, composed, target, overwrite=overwrite)
    if known is not None:
        return known
    judge = on or target
    if has_translations(judge):
        length = max_length or min(judge.max_length, engine.backbone.max_length)
        sweep = Sweep(engine, composed, judge, where, length, batch_tokens)
        asked = [
            lang for lang in (languages if on is None else on.languages) if sweep.is_there(lang)
        ]
        layer, pooling, scores, data = sweep.choose(asked, poolings)
        rule = f"best on the dev data of {judge.name} in {', '.join(asked)}"
        choice = LayerChoice(layer, pooling, rule, scores, data)
    elif on is not None:
        raise UserError(f"{on.name} has no translations as dev data: choose another task")
    else:
        rule = "the last layer, as trained for"
        if default_layer(engine, composed) < engine.layers:
            rule = "XTREME's middle layer, 14 of 24"
        choice = LayerChoice(default_layer(engine, composed), poolings[0], rule, {}, [])
    _record(folder, choice, engine, composed, target)
    return choice


def _about(engine: Engine, composed: Composed, target: TargetSpec) -> dict[str, str]:
    return {
        "target": target.name,
        "composition": composed.expression,
        "identity": composed.identity,
        "backbone": engine.fingerprint,
    }


def _recorded(
    folder: Path | None,
    engine: Engine,
    composed: Composed,
    target: TargetSpec,
    *,
    overwrite: bool,
) -> LayerChoice | None:
    path = folder and folder / RECORD
    if path is None or not path.is_file():
        return None
    mine = _about(engine, composed, target)
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {key: fields.pop(key) for key in mine}
        choice = LayerChoice(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged: remove it to choose a layer anew") from error
    if any(found[key] != mine[key] for key in ("target", "identity", "backbone")):
        if overwrite:
            return None
        raise UserError(
            f"{path} holds the layer chosen for '{found['composition']}' on {found['target']}: "
            "choose another folder"
        )
    return choice


def _record(
    folder: Path | None, choice: LayerChoice, engine: Engine, composed: Composed, target: TargetSpec
) -> None:
    if folder is None:
        return
    fields = {**_about(engine, composed, target), **asdict(choice)}
    text = json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(folder / RECORD, text + "\n")
