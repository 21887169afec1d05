"""Says by how much one composition is better than another, with an interval.

python examples/compare.py
"""

from __future__ import annotations

from typing import Any

from adapter_stilts import compare, train_target


def main(backbone: str = "embedded", **recipe: Any) -> None:
    """Trains a target with bottleneck adapters and with LoRAs, and compares the two."""
    common: dict[str, Any] = {
        "backbone": backbone,
        "data": "sample",
        "recipe": "demo",
        "quiet": True,
        "overwrite": True,  # so that the example can be run again
        **recipe,
    }
    train_target("xnli", method="bottleneck", **common)
    train_target("xnli", method="lora", **common)

    found = compare(
        "xnli", "xnli-lora", on="xnli", langs="en,de,es", data="sample", backbone=backbone
    )
    overall = found.overall
    print(f"xnli less xnli-lora: {overall.value:+.1f} points")
    print(f"95 % interval: {overall.low:+.1f} to {overall.high:+.1f}")
    print("alike" if found.alike else "not shown to be alike")


if __name__ == "__main__":
    main()
