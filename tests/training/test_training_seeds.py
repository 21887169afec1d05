"""Several seeds of one training beside each other, compared as one composition."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from training_kit import SHORT  # type: ignore[import-not-found]

from adapter_stilts import evaluate, train_adapter, train_seeds
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.run import SeedSummary, group_seeds
from adapter_stilts.metrics import Spread
from adapter_stilts.training.run import parse_seeds
from adapter_stilts.zoo.find import each_seed

OPTIONS = {key: value for key, value in SHORT.items() if key not in ("task", "seed", "out")}
OPTIONS |= {"limit": 6, "dev_limit": 4}


def test_each_seed_has_its_folder_and_they_are_one_column(
    tiny_xlmr: Path, zoo: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {**OPTIONS, "backbone": str(tiny_xlmr)}
    made = train_seeds(train_adapter, "squad", seeds=(0, 2), **options)
    first, other = made.trained.values()
    assert [each.path.name for each in (first, other)] == ["squad", "squad-s2"]
    assert first.record.run != other.record.run and other.record.recipe["seed"] == 2
    f1 = [each.record.scores["f1"] for each in (first, other)]
    assert made.scores["f1"] == Spread(statistics.fmean(f1), statistics.stdev(f1), 2)
    assert made.name == "squad-s*"
    with pytest.raises(UserError, match="squad-s2"):  # before seed 3 is trained
        train_seeds(train_adapter, "squad", seeds=(3, 2), **options)
    assert not (first.path.parent / "squad-s3").exists()

    found = evaluate(
        "tydiqa",
        compositions=["squad-s*"],
        langs=["en", "ko"],
        data="sample",
        out=tmp_path / "p",
        limit=4,
        precision="fp32",
    )
    assert [each.seed for each in found] == [0, 2]
    assert len({each.folder for each in found}) == 2
    (summary,) = group_seeds(found)
    assert isinstance(summary, SeedSummary) and summary.composition == "squad-s*"
    average = [each.average["f1"] for each in found]
    assert summary.means["average"]["f1"].mean == pytest.approx(statistics.fmean(average))
    fields = json.loads(json.dumps(summary.as_dict()))
    assert len(fields["seeds"]) == 2
    assert fields["summary"]["average"]["f1"]["sd"] == pytest.approx(statistics.stdev(average))


def test_what_cannot_be_expanded(zoo: Path) -> None:
    assert each_seed("stack(squad, tydiqa)") == {None: "stack(squad, tydiqa)"}
    with pytest.raises(UserError, match=r"'squad-s\*'"):
        each_seed("squad-s*")


@pytest.mark.parametrize("text", ["", "a", "0,,1", "-1", "0;1"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="seeds"):
        parse_seeds(text)


def test_a_seed_twice() -> None:
    with pytest.raises(UserError, match="1 is given twice"):
        train_seeds(train_adapter, "squad", seeds=(1, 1))
