"""Records of finished runs: appended whole, and found where they are damaged."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.evaluation.explain import Explanation
from adapter_stilts.study.folder import append_result, read_results
from adapter_stilts.study.graph import RunResult
from adapter_stilts.study.items import summarise


def _record(run: str, **more: object) -> RunResult:
    fields = {"run": run, "study": "s", "stage": "target", "arm": "alone", "method": "bottleneck"}
    return RunResult.model_validate({**fields, **more})


def test_records_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    first = _record("a", scores={"xnli": {"en": {"accuracy": 61.5}}}, intermediate=("squad",))
    append_result(path, first)
    append_result(path, _record("b", dev_choose=None))
    append_result(path, _record("b", dev_choose=2.5))
    found = read_results(path)
    assert found.runs["a"] == first
    assert found.runs["b"].dev_choose == 2.5
    assert len(found.runs) == 2 and not found.damaged


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_cut_line_is_named_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, _record("a"))
    append_result(path, _record("b"))
    path.write_bytes(path.read_bytes()[: -cut - 1])
    assert list(read_results(path).runs) == ["a"]
    assert list(read_results(path).damaged) == [2]
    append_result(path, _record("c"))
    found = read_results(path)
    assert list(found.runs) == ["a", "c"]
    assert list(found.damaged) == [2]


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"null", b'{"run": "x"}', b'{"run": "x", "stage": NaN}', b"[" * 5000]
)
def test_damage_of_every_kind_is_found(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, _record("a"))
    path.write_bytes(line + b"\n" + path.read_bytes())
    found = read_results(path)
    assert list(found.runs) == ["a"]
    assert list(found.damaged) == [1]


@pytest.mark.parametrize(
    "field",
    [
        {"scores": {"xnli": {"en": {"accuracy": 1500.0}}}},
        {"scores": {"xnli": {"en": {"accuracy": float("nan")}}}},
        {"dev_select": 101.0},
        {"dev_choose": -101.0},
        {"seconds": -1.0},
        {"lr": -0.1},
        {"items": "../../elsewhere"},
        {"items": "/etc"},
        {"arm": " "},
        {"method": ""},
        {"machine": "\x1b[31mred"},
        {"created": "a\nb"},
    ],
)
def test_what_cannot_have_been_measured_is_damage(tmp_path: Path, field: dict[str, Any]) -> None:
    path = tmp_path / "results.jsonl"
    append_result(path, _record("a"))
    line = json.dumps({**json.loads(path.read_text()), **field})
    path.write_text(f"{line}\n")
    found = read_results(path)
    assert not found.runs
    assert next(iter(field)) in found.damaged[1]


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    writers = [
        threading.Thread(target=append_result, args=(path, _record(f"r{k}", arm="x" * 9000)))
        for k in range(12)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert len(read_results(path).runs) == 12
    assert not read_results(path).damaged


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailureError, match="file"):
        append_result(tmp_path / "file" / "results.jsonl", _record("a"))


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_records_that_cannot_be_read_are_not_none(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "results.jsonl"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(UserError, match=r"results\.jsonl: the records cannot be read"):
        read_results(path)


def test_attention_is_kept_in_full() -> None:
    """It is averaged before it is shown: rounded twice, it would be another figure."""
    weights = {"en": {0: {"squad": 0.12496, "mnli": 0.87504}}}
    found = Explanation(
        "fuse(squad, mnli)", "xnli", "test", "full", ("squad", "mnli"), weights,
        {"en": {0: 0.54321678}}, {"en": 5}, {},
    )  # fmt: skip
    kept = summarise(found, found.sources)
    assert kept.layers == {0: weights["en"][0]} and kept.languages == {"en": weights["en"][0]}
    assert kept.entropy == {"en": 0.54321678}
