"""`explain`: what a fusion listens to, as an object, as files and as a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from adapter_stilts.evaluation.explain import OnLanguage, explained
from adapter_stilts.evaluation.explanation import Explanation
from adapter_stilts.paths import atomic_folder
from adapter_stilts.report.heat_map import heat_map

JSON, TABLE, PICTURE = "explanation.json", "explanation.csv", "explanation.svg"


def explain(
    composition: str,
    *,
    task: str | None = None,
    langs: str | Sequence[str] = "all",
    split: str = "test",
    data: str | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    backbone: str | None = None,
    precision: str = "auto",
    batch_tokens: int | None = None,
    on_language: OnLanguage | None = None,
) -> Explanation:
    """Which of its sources a fusion attends to, by language and layer.

    Every text of the task goes through the composition; attention is averaged over all tokens but
    the padding. What a text's label is makes no difference.

    Args:
        composition: one with a learnt fusion, such as `fuse(mnli, squad)`, the fusion's own name,
            or `stack(fuse(mnli, squad), tydiqa)`.
        task: the target whose texts are read. Default: the one the fusion was learnt on.
        langs, split, data: as in `evaluate`.
        limit: that many examples of every language, drawn at random.
        out: a folder for `explanation.json`, `.csv` and `.svg`.
        backbone: where the backbone lies, if not where it lay when the modules were trained.
        precision: of the trunk: `fp32`, `bf16` or `auto`.
        batch_tokens: padded tokens a batch at most; None: what suits the device.
        on_language: told when a language is done.

    Raises:
        UserError: the composition has no learnt fusion; an unknown task, language or split; data
            that is malformed or not there.
    """
    found = explained(
        composition,
        task=task,
        langs=langs,
        split=split,
        data=data,
        limit=limit,
        backbone=backbone,
        precision=precision,
        batch_tokens=batch_tokens,
        on_language=on_language,
    )
    if out is not None:
        write_explanation(found, Path(out))
    return found


def write_explanation(found: Explanation, folder: Path) -> None:
    """Writes JSON, CSV and the heat map."""
    with atomic_folder(folder) as work:
        text = json.dumps(found.as_dict(), ensure_ascii=False, indent=1)
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
