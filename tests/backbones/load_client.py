"""Finds the backbones that its arguments name, in a process of its own, and says what it finds.

`huggingface_hub` reads its environment when it is imported, so a test cannot change it.
"""

from __future__ import annotations

import json
import sys

import torch

from adapter_stilts.backbones import find_backbone
from adapter_stilts.errors import UserError
from adapter_stilts.modules.engine import load_engine


def found(name: str) -> dict[str, object]:
    """What there is, or the complaint."""
    try:
        backbone = find_backbone(name)
        engine = load_engine(backbone, precision="fp32", device=torch.device("cpu"))
        ids = backbone.tokenizer("Ann and Bob")["input_ids"]
    except UserError as error:
        return {"error": str(error)}
    return {
        "revision": backbone.revision,
        "slug": backbone.slug,
        "fingerprint": engine.fingerprint,
        "ids": ids,
    }


if __name__ == "__main__":
    json.dump([found(name) for name in sys.argv[1:]], sys.stdout)
