"""In a process of its own: the logits of compositions, as another process kept them.

Every folder is a zoo, with `made.json` (backbone, compositions), and for every composition
`NUMBER.safetensors` (a batch, and the logits it gave).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file

from adapter_stilts.engine.engine import forward
from adapter_stilts.zoo.local import load_composition
from made_modules import logits_of, make_engine


def differences(zoo: Path) -> dict[str, float]:
    """Loads every composition, one after the other into one engine."""
    os.environ["ADSTILTS_ZOO"] = str(zoo)
    backbone, compositions = json.loads((zoo / "made.json").read_text(encoding="utf-8"))
    engine = make_engine(backbone)
    found = {}
    for number, composition in enumerate(compositions):
        load_composition(engine, composition)
        tensors = load_file(zoo / f"{number}.safetensors")
        expected = tensors.pop("logits")
        logits = logits_of(forward(engine, tensors), tensors)
        found[f"{zoo.name} {composition}"] = float((logits - expected).abs().max())
    return found


def compare(zoos: Path, written: Path) -> None:
    """Writes the greatest differences in each of the zoos."""
    torch.set_num_threads(1)
    every = [differences(path.parent) for path in sorted(zoos.glob("*/made.json"))]
    found = {key: value for each in every for key, value in each.items()}
    written.write_text(json.dumps(found), encoding="utf-8")
