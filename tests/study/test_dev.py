"""English dev in two halves, by which rates and arms are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study.dev import check_dev, dev_halves
from adapter_stilts.study.folder import SELECT, StudyFolder
from adapter_stilts.study.graph import Run, RunResult
from adapter_stilts.study.work import _Work
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.target import train_target


def _does(backbone: Path, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"backbone": str(backbone), "data": "sample", "precision": "fp32"}
    return {**usual, "batch_tokens": None, "dev_items": None, "choose_on": "dev", **more}


def test_a_retrieval_task_has_halves_by_article_that_make_up_its_dev_score(
    tiny_xlmr: Path, tmp_path: Path
) -> None:
    made = train_target(
        "lareqa",
        backbone=str(tiny_xlmr),
        data="sample",
        steps=2,
        precision="fp32",
        out=tmp_path / "module",
        quiet=True,
    )
    found = dev_halves(get_target("lareqa"), made.path, tmp_path / "dev", _does(tiny_xlmr), 0)
    assert not found.whole
    assert found.choose != found.select
    kept = pq.read_table(tmp_path / "dev" / SELECT).to_pylist()
    assert found.select == pytest.approx(
        100 * sum(row["numerator"] for row in kept) / len(kept), abs=1e-9
    )
    # The training's own dev score is the mean over the same queries.
    whole, count = made.record.scores["map_at_20"], made.record.data["dev"]["examples"]
    rest = (whole * count - found.select * len(kept)) / (count - len(kept))
    assert found.choose == pytest.approx(rest, abs=0.1)


def test_no_rate_is_chosen_by_a_score_that_is_not_there(tmp_path: Path) -> None:
    fields = {"study": "s", "stage": "rate", "arm": "alone", "method": "m", "lr": 0.1}
    known = {
        name: RunResult.model_validate({**fields, "run": name, "dev_choose": score})
        for name, score in (("a" * 16, 50.0), ("b" * 16, None))
    }
    run = Run("target", "alone", "m", {}, target="xnli", rates=tuple(known))
    with pytest.raises(FailureError, match="b" * 16):
        _Work(StudyFolder(tmp_path), "s", run, known, run.id).do()


def _udpos(backbone: Path, out: Path, **options: Any) -> Path:
    made = train_target(
        "udpos",
        backbone=str(backbone),
        data="sample",
        steps=2,
        precision="fp32",
        out=out,
        quiet=True,
        **options,
    )
    return made.path


def test_rows_of_train_that_choose_are_those_that_no_training_draws(
    tiny_xlmr: Path, tmp_path: Path
) -> None:
    """Draws of one seed have rows in common: all that chose would have been learnt."""
    target = get_target("udpos")
    count = len(load_examples(target.trained_in("en")[-1], "train", "sample").examples)
    rows = count // 2
    module = _udpos(tiny_xlmr, tmp_path / "module", limit=rows)
    for seed, items in ((0, count // 4), (1, count // 4), (0, None)):
        does = _does(tiny_xlmr, choose_on="train", rows=rows, dev_items=items)
        dev_halves(target, module, tmp_path / "dev", does, seed)
        drawn = load_examples(
            target.trained_in("en")[-1], "train", "sample", limit=rows, seed=seed
        ).examples["id"][:]
        kept = {row["id"] for row in pq.read_table(tmp_path / "dev" / SELECT).to_pylist()}
        assert kept
        assert kept.isdisjoint(drawn)
    with pytest.raises(UserError, match="udpos"):
        check_dev(target, _does(tiny_xlmr, choose_on="train", rows=count))


def test_articles_that_make_one_half_alone_are_said_before_any_training(tiny_xlmr: Path) -> None:
    """The questions of the sample are of too few articles."""
    target, does = get_target("tydiqa"), _does(tiny_xlmr, rows=None)
    with pytest.raises(UserError, match=r"tydiqa.*choose_on: whole"):
        check_dev(target, {**does, "choose_on": "dev"})
    assert not check_dev(target, {**does, "choose_on": "whole"})


def test_a_small_dev_is_taken_whole_where_the_study_says_so(
    tiny_xlmr: Path, tmp_path: Path
) -> None:
    target = get_target("udpos")
    module = _udpos(tiny_xlmr, tmp_path / "module")
    does = _does(tiny_xlmr, choose_on="whole", rows=None)
    found = dev_halves(target, module, tmp_path / "dev", does, 0)
    assert found.whole
    assert found.choose == found.select
    count = len(load_examples(target.trained_in("en")[-1], "dev", "sample").examples)
    assert pq.read_table(tmp_path / "dev" / SELECT).num_rows == count
    assert not check_dev(target, does)
    assert "whole" in check_dev(target, {**does, "choose_on": "dev"}), "halves of few items"


@pytest.mark.parametrize("choose_on", ["dev", "train"])
def test_so_few_items_that_a_half_is_empty_are_said_before_any_training(
    choose_on: str, tiny_xlmr: Path
) -> None:
    """By those that are drawn, not by all that there are."""
    does = _does(tiny_xlmr, choose_on=choose_on, rows=2, dev_items=1)
    with pytest.raises(UserError, match=r"udpos.*two halves"):
        check_dev(get_target("udpos"), does)
    assert "udpos" in check_dev(get_target("udpos"), {**does, "dev_items": 12})
