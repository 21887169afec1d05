"""English dev in two halves, by which rates and arms are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapter_stilts.errors import FailureError
from adapter_stilts.study.dev import SELECT, dev_halves
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Run
from adapter_stilts.study.results import RunResult
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
