"""Learns a target on top of an intermediate task and without it, and tries both in other languages.

python examples/stack_and_evaluate.py
"""

from __future__ import annotations

from typing import Any

from adapter_stilts import evaluate, train_adapter, train_target


def main(backbone: str = "embedded", **recipe: Any) -> None:
    """Trains three small modules on the bundled samples, and prints a table."""
    common: dict[str, Any] = {
        "backbone": backbone,
        "data": "sample",
        "recipe": "demo",
        "quiet": True,
        "overwrite": True,  # so that the example can be run again
        **recipe,
    }
    train_adapter("squad", **common)
    train_target("tydiqa", on="squad", **common)
    train_target("tydiqa", **common)

    found = evaluate(
        "tydiqa",
        compositions=["tydiqa", "stack(squad, tydiqa)"],
        langs="en,fi,ru",
        data="sample",
        backbone=backbone,
        overwrite=True,
    )
    for each in found:
        scores = ", ".join(f"{lang} {score['f1']:.1f}" for lang, score in each.scores.items())
        print(f"{each.composition}: {scores}; transfer gap {each.gap['f1']:.1f}")


if __name__ == "__main__":
    main()
