"""Counts of the real data sets, where a folder of them is at hand (`make test-data`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapter_stilts.data import load_examples
from adapter_stilts.tasks.registry import get_task

FOLDER = os.environ.get("ADSTILTS_DATA", "")
COUNTS = {
    "anli-plus": (8_999 + 8_999 + 3_198, 9_842 + 9_815 + 3_200),
    "mnli": (8_999, 9_815),
    "qqp": (8_999, 1_000),
    "squad": (9_380, 1_190),
    "squad-v2": (10_174, 1_699),
    "hellaswag": (3_368, 10_042),
    "ccg": (7_745, 1_174),
    "cosmos-qa": (2_381, 604),
    "commonsense-qa": (9_741, 1_221),
}

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not Path(FOLDER or "nowhere").is_dir(), reason="ADSTILTS_DATA is not set"),
]


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    found = [load_examples(get_task(name), split, FOLDER) for split in ("train", "dev")]
    assert tuple(len(each.examples) for each in found) == COUNTS[name]
    assert all(part["rows_left_out"] == 0 for each in found for part in each.parts)


def test_unanswerable_questions() -> None:
    found = load_examples(get_task("squad-v2"), "dev", FOLDER).examples
    assert sum(not answers for answers in found["answers"]) == 882


def test_ccg_categories() -> None:
    found = load_examples(get_task("ccg"), "train", FOLDER).examples
    assert len({tag for tags in found["tags"] for tag in tags}) == 294


def test_auto_files() -> None:
    folder = Path(FOLDER) / "ccg" / "auto_format_example"
    found = load_examples(get_task("ccg"), "train", str(folder)).examples
    assert len(found) == 63
    assert found["words"][0][:3] == ["In", "the", "accompanying"]
