"""Trains a module for a language from raw text, and puts it below a task.

python examples/own_language.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapter_stilts import evaluate, train_language, train_target

TEXT = {
    "en": ["The bridge is old.", "The bakery opens at six.", "She reads letters in the garden."],
    "de": ["Die Brücke ist alt.", "Die Bäckerei öffnet um sechs.", "Sie liest Briefe im Garten."],
}
"""Write a sentence or so a line; thousands of lines are better than these."""


def main(backbone: str = "embedded", **recipe: Any) -> None:
    """A module for each language, a task on top of the English one, German below it in the end."""
    common: dict[str, Any] = {"backbone": backbone, "quiet": True, "overwrite": True, **recipe}
    with TemporaryDirectory() as folder:
        for language, lines in TEXT.items():
            text = Path(folder, f"{language}.txt")
            text.write_text("\n".join(lines * 10), encoding="utf-8")
            train_language(language, text=text, **common)
    train_target("panx", on="lang:*", data="sample", **common)

    (found,) = evaluate(
        "panx",
        compositions=["stack(lang:*, panx-on-lang-en)"],
        langs="en,de",
        data="sample",
        backbone=backbone,
        overwrite=True,
    )
    for language, scores in found.scores.items():
        print(f"{language}: {scores}")


if __name__ == "__main__":
    main()
