"""What a fusion listens to, as files and as a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from adapter_stilts.evaluation.explanation import Explanation
from adapter_stilts.paths import atomic_folder
from adapter_stilts.report.heat_map import heat_map

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
        (work / PICTURE).write_text(picture(found), encoding="utf-8")


def picture(found: Explanation) -> str:
    """The heat map: one panel a language, and their mean before them."""
    panels = dict(found.weights)
    if len(panels) > 1:
        panels = {f"mean of {len(panels)} languages": found.average, **panels}
    whole = all(len(sources) == len(found.sources) for sources in found.average.values())
    absent = "" if whole else "; a dot: no module there"
    return heat_map(
        panels,
        found.sources,
        found.layers,
        title=f"{found.composition} on {found.task}",
        legend=(
            f"Mean attention weight per layer (from 0 at the bottom) and source, {found.kind} "
            f"fusion, {found.split} texts{absent}."
        ),
        mark=1 / len(found.sources),
    )
