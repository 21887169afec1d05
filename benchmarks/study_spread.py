"""How much items and seeds vary: `python benchmarks/study_spread.py [STUDY.yaml [FOLDER]]`.

Without a study, from the committed scores of the shipped modules: the numbers that a study's plan
takes before any of its runs is done (`adapter_stilts.study.spread`). With one, from its records.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adapter_stilts.study.report_input import read_study
from adapter_stilts.study.spread import measure_spread, shipped_spread

RECORD = Path(__file__).parents[1] / "docs" / "results" / "records" / "zoo.jsonl"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(shipped_spread(RECORD))
    else:
        print(measure_spread(read_study(*map(Path, sys.argv[1:3]))[0]))
