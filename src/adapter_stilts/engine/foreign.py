"""Modules that others have made: AdapterHub's, and LoRAs of plain `peft`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_stilts.engine.guard import PLACES, named_config, shapes_in
from adapter_stilts.engine.native import (
    CONFIG,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    WEIGHTS,
    check_files,
    read_weights,
)
from adapter_stilts.errors import UserError
from adapter_stilts.heads import kind_of
from adapter_stilts.safety import brief, is_name, is_number, json_text, read_json

PEFT_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Foreign:
    """What the files of someone else's module say.

    `head` is the kind of its head, empty where it has none that is known here; `labels` is how
    many that head has. `revision` is the backbone's, where one is named.
    """

    method: str
    backbone: str
    model_type: str
    head: str
    labels: int
    parameters: int
    revision: str = ""


def read_adapter(folder: Path) -> Foreign:
    """A module of `adapters`, as AdapterHub has them; a head of an unknown kind is taken away.

    Refuses a damaged one, and a kind that is not supported here.
    """
    check_files(folder, ((WEIGHTS, CONFIG),))
    about = read_json(folder / CONFIG)
    head, labels = _head(folder)
    return Foreign(
        method=method_of(folder),
        backbone=_text(about.get("model_name")),
        model_type=_text(about.get("model_type")),
        head=head,
        labels=labels,
        parameters=_parameters(folder / WEIGHTS),
    )


def rename(folder: Path, name: str) -> None:
    """Calls a module of `adapters`, and its head, by that name in its files, as ours are."""
    from safetensors.torch import save_file

    for weights, config in ((WEIGHTS, CONFIG), (HEAD_WEIGHTS, HEAD_CONFIG)):
        if not (folder / config).is_file() or not (folder / weights).is_file():
            continue
        about = read_json(folder / config)
        place = re.compile(rf"((?:^|\.)(?:{PLACES}|heads)\.){re.escape(about['name'])}\.")
        about["name"] = name
        tensors = {
            place.sub(rf"\g<1>{name}.", key, count=1): tensor
            for key, tensor in read_weights(folder / weights).items()
        }
        save_file(tensors, folder / weights, metadata={"format": "pt"})
        (folder / config).write_text(json_text(about), encoding="utf-8")


def method_of(folder: Path) -> str:
    """Which of our methods the files of a library's module are; refuses those of none of them."""
    _, config = named_config(folder / CONFIG)
    # Of a part at the embeddings, old task adapters have only the configuration.
    part = re.compile(r"(^|\.)invertible_(lang_)?adapters\.")
    invertible = config.get("inv_adapter") and any(map(part.search, shapes_in(folder / WEIGHTS)))
    return _method(folder / CONFIG, config, invertible=bool(invertible))


def _text(value: Any) -> str:
    """A name of a model: the part that a Hub id is made of, or a path."""
    return value if isinstance(value, str) and is_name(value.replace("/", "-")) else ""


def _parameters(path: Path) -> int:
    return sum(math.prod(shape) for shape in shapes_in(path).values())


def _method(path: Path, config: Mapping[str, Any], *, invertible: bool) -> str:
    """Which of our methods a configuration of the library's is."""
    kind = config.get("architecture")
    if kind == "lora":
        if config.get("composition_mode") == "scale":
            return "ia3"
        if config.get("use_dora"):
            return "dora"
        return "lora-all" if config.get("intermediate_lora") else "lora"
    if kind is not None or config.get("phm_layer"):
        raise UserError(
            f"{path}: modules of kind '{brief(kind or 'compacter')}' are not supported: bottleneck "
            "adapters, LoRA and (IA)3 are"
        )
    if config.get("is_parallel"):
        if invertible:
            raise UserError(f"{path}: parallel modules with an invertible part are not supported")
        return "parallel-bottleneck"
    kind = "invertible" if invertible else "bottleneck"
    return f"double-{kind}" if config.get("mh_adapter") else kind


def _head(folder: Path) -> tuple[str, int]:
    if not (folder / HEAD_CONFIG).is_file() or not (folder / HEAD_WEIGHTS).is_file():
        return "", 0
    _, config = named_config(folder / HEAD_CONFIG)
    kind = kind_of(config)
    if kind is None:
        (folder / HEAD_CONFIG).unlink()
        (folder / HEAD_WEIGHTS).unlink()
        return "", 0
    check_files(folder, ((HEAD_WEIGHTS, HEAD_CONFIG),))
    labels = config.get("num_labels", 0)
    return kind, labels if isinstance(labels, int) else 0


_MATRICES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
}
_KEY = re.compile(
    r"base_model\.model\.(?:\w+\.)?(encoder\.layer\.(\d+)\.([a-z.]+))\.lora_([AB])"
    r"(?:\.default)?\.weight"
)
_LAYERS = range(200)
"""More than any encoder has."""


def read_peft(folder: Path, name: str) -> Foreign:
    """A LoRA of plain `peft`, which is rewritten in the native format under that name.

    Its head, if it has one, is left behind: the module is a source to learn on top of. Refuses a
    damaged one, and a variety that the native format cannot express.
    """
    import adapters
    from safetensors.torch import save_file

    check_files(folder, ((PEFT_WEIGHTS, CONFIG),))
    about = read_json(folder / CONFIG)
    if not isinstance(about, dict) or about.get("peft_type") != "LORA":
        kind = about.get("peft_type") if isinstance(about, dict) else None
        raise UserError(
            f"{folder / CONFIG}: peft modules of kind '{brief(kind)}' are not supported"
        )
    _check_variety(folder / CONFIG, about)
    places = _places(folder / PEFT_WEIGHTS)
    config = _lora_config(folder, about, places)
    tensors = read_weights(folder / PEFT_WEIGHTS)
    native = {
        f"{place}.loras.{name}.lora_{side}": tensors[key].float().contiguous()
        for key, (place, _, _, side) in places.items()
    }
    save_file(native, folder / WEIGHTS, metadata={"format": "pt"})
    fields = {"config": config, "name": name, "version": f"adapters.{adapters.__version__}"}
    (folder / CONFIG).write_text(json_text(fields), encoding="utf-8")
    (folder / PEFT_WEIGHTS).unlink()
    return Foreign(
        method="lora-all" if config["intermediate_lora"] or config["output_lora"] else "lora",
        backbone=_text(about.get("base_model_name_or_path")),
        model_type="",
        head="",
        labels=0,
        parameters=_parameters(folder / WEIGHTS),
        revision=_text(about.get("revision")),
    )


_PLAIN_INITS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Beginnings that leave the backbone's weights as they are. The others (PiSSA, OLoRA, CorDA, LoftQ,
LoRA-GA and what may come) take something out of them, so the LoRA fits these weights alone."""
_FREE = {
    *("peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision"),
    *("task_type", "inference_mode", "runtime_config", "r", "lora_alpha", "lora_dropout"),
    *("use_rslora", "init_lora_weights", "eva_config", "bias", "modules_to_save"),
    # Which matrices are adapted is read from the weights; linear ones have no fan-in-fan-out.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("fan_in_fan_out", "megatron_core", "qalora_group_size"),
}
"""Settings of peft that are read here, or change nothing that is computed by a saved LoRA."""
_HEADS = ("classifier", "qa_outputs", "score", "pooler", "lm_head")
"""Parts above the trunk, which are left behind."""
_HEAD_KEY = re.compile(rf"base_model\.model\.(?:\w+\.)?(?:{'|'.join(_HEADS)})\.[\w.]+")


def _check_variety(path: Path, about: Mapping[str, Any]) -> None:
    """Refuses whatever else peft's LoRA can do: all of it would change what is computed."""
    unusual = sorted(key for key, value in about.items() if key not in _FREE and value)
    if about.get("bias") not in (None, "none"):
        unusual.append("bias")
    if unusual:
        raise UserError(f"{path}: a LoRA with '{brief(unusual[0])}' is not supported")
    how = about.get("init_lora_weights")
    if how not in _PLAIN_INITS:
        raise UserError(
            f"{path}: a LoRA with init_lora_weights '{brief(how)}' needs other backbone weights "
            "than the published ones: ask its author to convert it (peft's save_pretrained with "
            "path_initial_model_for_weight_conversion)"
        )
    if not isinstance(about.get("use_rslora", False), bool):
        raise UserError(f"{path}: 'use_rslora' is neither true nor false")
    saved = about.get("modules_to_save") or []
    if not isinstance(saved, list):
        raise UserError(f"{path}: 'modules_to_save' is no list")
    other = [each for each in saved if each not in _HEADS]
    if other:
        raise UserError(
            f"{path}: a LoRA that comes with trained weights of '{brief(other[0])}' is not "
            "supported: besides the LoRA only a head may be learnt"
        )


def _places(path: Path) -> dict[str, tuple[str, int, str, str]]:
    """For every tensor of the LoRA: where it belongs, the layer, the matrix, and A or B."""
    found = {}
    for key in shapes_in(path):
        if _HEAD_KEY.fullmatch(key):
            continue
        if ".lora_" not in key:
            raise UserError(
                f"{path}: '{brief(key)}' is neither part of a LoRA nor of a head, so the backbone "
                "was changed too: not supported"
            )
        match = _KEY.fullmatch(key)
        matrix = _MATRICES.get(match[3]) if match else None
        if match is None or matrix is None or int(match[2]) not in _LAYERS:
            raise UserError(
                f"{path}: '{brief(key)}' adapts a matrix for which there is no LoRA here "
                "(query, key, value and the feed-forward layers are supported)"
            )
        found[key] = (match[1], int(match[2]), matrix, match[4])
    if not found:
        raise UserError(f"{path}: there is no LoRA in it")
    return found


def _lora_config(
    folder: Path, about: Mapping[str, Any], places: Mapping[str, tuple[str, int, str, str]]
) -> dict[str, Any]:
    rank, alpha = about.get("r"), about.get("lora_alpha")
    ranks = {
        shape[0] for key, shape in shapes_in(folder / PEFT_WEIGHTS).items() if ".lora_A" in key
    }
    if not isinstance(rank, int) or not is_number(alpha) or ranks != {rank}:
        raise UserError(f"{folder / CONFIG}: rank and alpha are not those of the weights")
    layers: dict[int, set[str]] = {}
    for _, layer, matrix, side in places.values():
        layers.setdefault(layer, set()).add(f"{matrix}.{side}")
    adapted = next(iter(layers.values()))
    matrices = {each.partition(".")[0] for each in adapted}
    if any(each != adapted for each in layers.values()) or len(adapted) != 2 * len(matrices):
        raise UserError(f"{folder / PEFT_WEIGHTS}: its layers adapt different matrices")
    from adapters import LoRAConfig

    assert isinstance(alpha, int | float)
    return dict(
        LoRAConfig(
            r=rank,
            # peft's rank-stabilised scaling is alpha over the root of the rank.
            alpha=alpha * math.sqrt(rank) if about.get("use_rslora") else alpha,
            attn_matrices=sorted(matrices & {"q", "k", "v"}),
            selfattn_lora=bool(matrices & {"q", "k", "v"}),
            intermediate_lora="intermediate" in matrices,
            output_lora="output" in matrices,
            leave_out=[layer for layer in _LAYERS if layer not in layers],
        ).to_dict()
    )
