"""LoRA in peft's own format: what is written opens with plain `PeftModel.from_pretrained`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.tasks.spec import HeadKind

if TYPE_CHECKING:
    import torch

    from adapter_stilts.engine.engine import Engine


def has_peft_format(model_type: str) -> bool:
    """Whether modules on this architecture can be written for peft."""
    return all(model_type in get_head(kind).peft_layers for kind in KINDS)


def save_peft(engine: Engine, name: str, kind: HeadKind, folder: Path) -> None:
    """Writes a LoRA module and its head as `adapter_config.json` and `adapter_model.safetensors`.

    The static classes with the same logits (for sentence vectors: hidden states) are
    its `auto_class`; the head's layers become `modules_to_save`. Of the kind `embedding` there is
    the module alone, whatever heads it has.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    from adapter_stilts.engine.engine import module_parameters

    config = engine.model.adapters_config.get(name)
    prefix = engine.model.base_model_prefix
    places = get_head(kind).peft_layers[engine.model.config.model_type]
    tensors: dict[str, torch.Tensor] = {}
    for key, parameter in module_parameters(engine, name).items():
        value = parameter.detach().float().cpu().contiguous()
        if lora := re.fullmatch(rf"(.+)\.loras\.{re.escape(name)}\.lora_([AB])", key):
            # The class without a head is the trunk itself.
            place = lora[1] if places else lora[1].removeprefix(f"{prefix}.")
            tensors[f"base_model.model.{place}.lora_{lora[2]}.weight"] = value
        elif head := re.fullmatch(rf"heads\.{re.escape(name)}\.(\d+)\.(weight|bias)", key):
            place = places[head[1]]
            inside = f"{prefix}.{place}" if place.startswith("pooler") else place
            tensors[f"base_model.model.{inside}.{head[2]}"] = value
        elif places or not key.startswith("heads."):
            raise ValueError(f"no place for {key} in peft's format")
    saved = sorted({place.split(".")[0] for place in places.values()})
    folder.mkdir(parents=True, exist_ok=True)
    LoraConfig(
        task_type=get_head(kind).peft_task,
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=_pattern(tensors),
        modules_to_save=saved or None,
        base_model_name_or_path=engine.backbone.name,
        inference_mode=True,
    ).save_pretrained(str(folder))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _pattern(tensors: Mapping[str, torch.Tensor]) -> str:
    """A regular expression that matches exactly the adapted linear layers."""
    found: dict[str, set[str]] = {}
    for key in tensors:
        match = re.fullmatch(r"base_model\.model\.(.+\.layer)\.(\d+)\.(.+)\.lora_A\.weight", key)
        if match:
            found.setdefault(match[3], set()).add(match[2])
            stem = match[1]
    layers = sorted({number for numbers in found.values() for number in numbers}, key=int)
    parts = "|".join(re.escape(part) for part in sorted(found))
    return rf"{re.escape(stem)}\.({'|'.join(layers)})\.({parts})"
