"""Records of arms that have different seeds and different dev items."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from adapter_stilts.study.results import RESULTS, read_results
from adapter_stilts.study.study_data import StudyData
from study_kit import write_run

BOTH = ("singles:squad", "singles:mnli")


def _data(folder: Path) -> StudyData:
    return StudyData("made", folder, list(read_results(folder / RESULTS).runs.values()))


def test_every_arm_has_its_seeds_and_dev_chooses_by_those_of_all(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "singles:squad", "xnli", 0, seed, 40)
    write_run(tmp_path, "singles:mnli", "xnli", 0, 0, 40)
    target = _data(tmp_path).target("xnli", BOTH, BOTH)
    assert [target.test.seeds(arm) for arm in BOTH] == [(1, 3), (1, 1)]
    assert target.dev is not None
    assert [target.dev.seeds(arm) for arm in BOTH] == [(1, 1), (1, 1)]


def test_dev_chooses_by_the_items_that_all_have(tmp_path: Path) -> None:
    for arm in BOTH:
        write_run(tmp_path, arm, "xnli", 0, 0, 40)
    (place,) = tmp_path.glob("items/singles-mnli-*/xnli/dev-en*")
    pq.write_table(pq.read_table(place).slice(0, 25), place)
    target = _data(tmp_path).target("xnli", BOTH, BOTH)
    assert target.dev is not None
    assert {arm: counts["en"].shape for arm, counts in target.dev.arms.items()} == dict.fromkeys(
        BOTH, (1, 1, 25, 2)
    )


@pytest.mark.parametrize("first", [0, 1])
def test_arms_that_share_no_seed_are_chosen_among_by_their_own(tmp_path: Path, first: int) -> None:
    write_run(tmp_path, BOTH[first], "xnli", 0, 0, 40)
    write_run(tmp_path, BOTH[1 - first], "xnli", 0, 1, 40)
    target = _data(tmp_path).target("xnli", BOTH, BOTH)
    assert target.dev is not None
    assert target.dev.seeds(BOTH[0]) == (1, 1)
