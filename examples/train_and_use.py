"""The same from Python as from the command line, for each head kind, on the bundled samples.

python examples/train_and_use.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapter_stilts import load, train_adapter


def main(backbone: str = "embedded", **recipe: Any) -> None:
    """Trains four small modules and uses each."""
    with TemporaryDirectory() as folder:
        out = Path(folder)
        common: dict[str, Any] = {
            "backbone": backbone,
            "data": "sample",
            **(recipe or {"epochs": 2}),
        }

        trained = train_adapter("squad", out=out / "squad", **common)
        print(load(trained.path).answer("Where is the museum?", "The museum is in Lagos."))

        trained = train_adapter("mnli", method="lora", out=out / "mnli", **common)
        print(load(trained.path).classify("Ana plays the cello.", "Ana plays an instrument."))

        trained = train_adapter("commonsense-qa", out=out / "csqa", **common)
        options = ["cupboard", "river", "cloud", "engine", "sentence"]
        print(load(trained.path).choose("Where would you keep plates?", options))

        trained = train_adapter("ccg", out=out / "ccg", **common)
        print(load(trained.path).tag(["She", "reads", "old", "letters", "."]))


if __name__ == "__main__":
    main()
