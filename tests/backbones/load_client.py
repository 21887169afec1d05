"""Finds backbones and says what it finds: in a test's process, or in one of its own.

`huggingface_hub` reads its environment when it is imported, so a test must start another process
to show that what a user sets there counts.
"""

from __future__ import annotations

import json
import sys

import torch
from transformers import AutoModel

from adapter_stilts.backbones import find_backbone, fingerprint
from adapter_stilts.errors import UserError


def found(name: str) -> dict[str, object]:
    """What there is, or the complaint."""
    try:
        backbone = find_backbone(name)
        ids = backbone.tokenizer("Ann and Bob")["input_ids"]
    except UserError as error:
        return {"error": str(error)}
    model = AutoModel.from_pretrained(backbone.path, dtype=torch.float32, use_safetensors=True)
    return {
        "revision": backbone.revision,
        "slug": backbone.slug,
        "fingerprint": fingerprint(model.state_dict()),
        "ids": ids,
    }


if __name__ == "__main__":
    json.dump([found(name) for name in sys.argv[1:]], sys.stdout)
