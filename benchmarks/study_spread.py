"""How much items and seeds vary: `python benchmarks/study_spread.py [STUDY.yaml [FOLDER]]`.

Without a study, from the committed scores of the shipped modules: the numbers that a study's plan
takes before any of its runs is done (`adapter_stilts.study.outlook`). With one, from its records.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from adapter_stilts.metrics import primary
from adapter_stilts.study.findings import read_study
from adapter_stilts.study.outlook import measure_spread
from adapter_stilts.tasks.registry import get_target

RECORD = Path(__file__).parents[1] / "docs" / "results" / "records" / "zoo.jsonl"


def shipped_spread(record: Path) -> dict[str, float]:
    """By the kind of head, the spread of an item's score: that of what is right or wrong.

    Args:
        record: docs/results/records/zoo.jsonl, with scores of modules by target and language.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for line in record.read_text(encoding="utf-8").splitlines():
        for name, languages in json.loads(line)["evaluations"].items():
            target = get_target(name)
            scores = [each[primary(target.metric)] for each in languages.values()]
            found[target.head] += [score * (100 - score) for score in scores]
    return {head: round(math.sqrt(fmean(each)), 1) for head, each in found.items()}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(shipped_spread(RECORD))
    else:
        print(measure_spread(read_study(*map(Path, sys.argv[1:3]))[0]))
