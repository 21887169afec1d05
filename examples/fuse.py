"""Fuses two modules on a target's English data, merges them too, and uses both.

python examples/fuse.py
"""

from __future__ import annotations

from typing import Any

from adapter_stilts import fuse, load, merge, train_adapter

QUESTION = "Who designed the bridge?"
CONTEXT = "The bridge was designed by Elena Petrova and opened in 1932."


def main(backbone: str = "embedded", **recipe: Any) -> None:
    """Trains two sources on the bundled samples, and combines them in two ways."""
    common: dict[str, Any] = {
        "backbone": backbone,
        "data": "sample",
        "quiet": True,
        "overwrite": True,  # so that the example can be run again
        **recipe,
    }
    train_adapter("squad", recipe="demo", **common)
    train_adapter("mnli", recipe="demo", **common)

    fused = fuse(["squad", "mnli"], "tydiqa", kind="lean", **common)
    print(f"the fusion in {fused.path.name} has {fused.record.parameters:,} parameters of its own")
    print("fused: ", load(fused.path).answer(QUESTION, CONTEXT)["answer"])

    merged = merge(["squad", "mnli"], how="ties", head="squad", backbone=backbone, overwrite=True)
    print("merged:", load(merged.path).answer(QUESTION, CONTEXT)["answer"])


if __name__ == "__main__":
    main()
