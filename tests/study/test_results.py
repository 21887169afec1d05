"""Records of finished runs: appended whole, and found where they are damaged."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from adapter_stilts.errors import FailureError
from adapter_stilts.study.results import RunResult, append_result, read_results


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
