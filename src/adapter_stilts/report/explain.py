"""What a fusion listens to, as files and as a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from adapter_stilts.evaluation.explanation import Explanation
from adapter_stilts.paths import atomic_folder

JSON, TABLE, PICTURE = "explanation.json", "explanation.csv", "explanation.svg"


def write_explanation(found: Explanation, folder: Path) -> None:
    """Writes `explanation.json`, `.csv` and `.svg`, the heat map, and replaces what lies there."""
    with atomic_folder(folder) as work:
        text = json.dumps(found.as_dict(), ensure_ascii=False, indent=1, allow_nan=False)
        (work / JSON).write_text(text + "\n", encoding="utf-8")
        with (work / TABLE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("language", "layer", "source", "weight", "entropy"))
            for language, layer, source, weight, entropy in found.rows():
                writer.writerow((language, layer, source, f"{weight:.6f}", f"{entropy:.6f}"))
        (work / PICTURE).write_text(found.plot().svg, encoding="utf-8")
