"""Records of arms that have different seeds and different dev items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapter_stilts.study.folder import RESULTS, read_results
from adapter_stilts.study.graph import Planned
from adapter_stilts.study.items import Seeds
from adapter_stilts.study.study_data import StudyData
from study_kit import change_record, write_run

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
    table = pq.read_table(place).slice(0, 25)
    pq.write_table(table, place)
    change_record(tmp_path, 1, dev_select=100 * float(np.mean(table["numerator"].to_numpy())))
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


def test_a_single_is_named_by_its_task_however_many_are_done(tmp_path: Path) -> None:
    """The first of nine singles that is done is not "singles"."""
    write_run(tmp_path, "singles:squad", "xnli", 0, 0, 20)
    found = read_results(tmp_path / RESULTS)
    planned = {
        name: Planned("target", "singles", "xnli", "adapter", (task,))
        for name, task in (("singles-squad-xnli-0-0", "squad"), ("left", "mnli"))
    }
    planned["more"] = Planned("target", "singles", "xnli", "adapter")
    data = StudyData("made", tmp_path, list(found.runs.values()), planned=planned)
    assert list(data.arms) == ["singles:squad"]
    assert data.arms_named("singles") == ("singles:squad",)
    assert data.never_run("singles") == ("singles:mnli",)
    assert not data.never_run("alone")


def test_a_name_without_a_method_stands_for_all_methods(tmp_path: Path) -> None:
    for k, arm in enumerate(("alone", "singles:squad", "fusion-full")):
        write_run(tmp_path / "one", arm, "xnli", 0, 0, 20)
        change_record(tmp_path / "one", k, method="bottleneck")
    one = read_results(tmp_path / "one" / RESULTS).runs.values()
    two = [each.model_copy(update={"run": f"{each.run}-l", "method": "lora"}) for each in one]
    data = StudyData("made", tmp_path / "one", [*one, *two])
    assert data.arms_named("alone") == ("alone [bottleneck]", "alone [lora]")
    assert data.arms_named("alone [lora]") == ("alone [lora]",)
    assert data.arms_named("singles [lora]") == ("singles:squad [lora]",)
    # Runs of the other method are planned, and not there yet.
    planned = {each.run: Planned("target", each.arm, "xnli", each.method) for each in [*one, *two]}
    data = StudyData("made", tmp_path / "one", list(one), planned=planned)
    assert data.arms_named("alone [bottleneck]") == ("alone [bottleneck]",)
    assert data.never_run("alone") == ("alone [lora]",)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("numerator", np.nan, "counts"),
        ("numerator", 1000.0, "the record says"),
        ("denominator", -1.0, "counts"),
        ("denominator", 7.0, "the record says"),
        ("numerator", "right", "right"),
        ("cluster", None, "cluster"),
        ("", None, "no scores"),
    ],
)
def test_items_that_are_not_those_of_the_record_are_damaged(
    tmp_path: Path, column: str, value: object, why: str
) -> None:
    write_run(tmp_path, "alone", "xnli", 0, 0, 20)
    (place,) = tmp_path.glob("items/alone-*/xnli/test-de*")
    rows = pq.read_table(place).to_pydict()
    place.unlink()
    if value is None:
        rows.pop(column, None)
    else:
        rows[column] = [value if isinstance(value, str) else 1.0] * 19 + [value]
    if column:
        pq.write_table(pa.table(rows), place)
    data = _data(tmp_path)
    run = data.on("alone", "xnli")[Seeds(0, 0)]
    assert set(data.items(run, "xnli", "test")) == {"en", "sw", "zh"}
    (damaged,) = data.damaged
    assert "test-de" in damaged.place and why in damaged.why
