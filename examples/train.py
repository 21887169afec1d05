"""Trains a SQuAD adapter on the bundled samples and asks it a question in two languages.

python examples/train.py
"""

from __future__ import annotations

from typing import Any

from adapter_stilts import load, train_adapter
from adapter_stilts.paths import zoo_dir

CONTEXTS = {
    "English": (
        "When was the bridge opened?",
        "The stone bridge across the river was designed by Elena Petrova and opened in 1932. "
        "It is 340 metres long and carries trams as well as pedestrians.",
    ),
    "German": (
        "Wer hat die Brücke entworfen?",
        "Die steinerne Brücke über den Fluss wurde von Elena Petrova entworfen und 1932 eröffnet. "
        "Sie ist 340 Meter lang und trägt neben Fußgängern auch Straßenbahnen.",
    ),
}


def main(backbone: str = "embedded", **recipe: Any) -> None:
    """Trains, answers, and says where the module lies."""
    print("Training a SQuAD adapter on a frozen backbone (360 bundled questions) ...")
    trained = train_adapter(
        "squad",
        backbone=backbone,
        data="sample",
        recipe="demo",
        out=zoo_dir() / "embedded" / "squad-demo",
        overwrite=True,
        **recipe,
    )
    scores = ", ".join(f"{name} {value:.1f}" for name, value in trained.record.scores.items())
    print(f"\nDev scores on {trained.record.data['dev']['examples']} bundled questions: {scores}")
    module = load(trained.path)
    for language, (question, context) in CONTEXTS.items():
        found = module.answer(question, context)
        print(f"\n{language}: {context}\n  {question}\n  -> {found['answer']}")
    print(f"\nThe module lies in {trained.path} ({trained.record.parameters:,} parameters).")
    print(f'Ask it more:  adstilts predict --with {trained.path} --question "..." --context "..."')


if __name__ == "__main__":
    main()
