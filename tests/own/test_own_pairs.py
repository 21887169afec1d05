"""Pairs of a query and its text: a task of one's own is learnt, evaluated and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import adapter_stilts as ads
from cli_kit import Result, assert_one_line
from own_kit import task_file

Run = Callable[..., Result]
PAIRS = "".join(f"Who is {n}?,Ann number {n} runs.\n" for n in range(12))
# One query with two texts, and one text of two queries.
TEST = "query,text\n" + PAIRS + "Who is 3?,Bob.\nWhere is 4?,Ann number 4 runs.\n"


def test_pairs_are_evaluated_as_in_training(
    run: Run, tmp_path: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = task_file(tmp_path, "a.csv", TEST, head="embedding")
    made = ads.train_adapter(
        path, backbone=str(tiny_xlmr), steps=2, test_file=tmp_path / "a.csv", quiet=True
    )
    found = ads.evaluate(path, made, out=tmp_path / "out")[0]
    assert found.scores["en"] == made.test_scores
    (written,) = (tmp_path / "out").rglob("test-en.tsv")
    lines = [line.split("\t") for line in written.read_text("utf-8").splitlines()]
    assert [int(row) for row, _ in lines] == [*range(12), 13]
    assert set(lines[0][1].split()) == {str(n) for n in range(13)}
    right = {str(n): {str(n)} for n in range(12)} | {"3": {"3", "12"}, "13": {"4"}}
    share = [_precision(ranked.split(), right[row]) for row, ranked in lines]
    assert abs(made.test_scores["map_at_20"] - 100 * sum(share) / len(share)) < 1e-9
    ads.train_adapter(path, backbone=str(tiny_xlmr), steps=2, seed=1, quiet=True)
    assert_one_line(run("compare", "mine", "mine-s1", "--on", str(path)), 2, "map_at_20")
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text("utf-8") + "max_length: 64\n", "utf-8")
    two = run("compare", "mine", "mine-s1", "--on", f"{path},{other}")
    assert_one_line(two, 2, "two", "'mine'", "rename")


def _precision(ranked: list[str], right: set[str]) -> float:
    hits = [place for place, text in enumerate(ranked, start=1) if text in right]
    return sum(n / place for n, place in enumerate(hits, start=1)) / len(right)


def test_rows_without_a_text_are_named(
    run: Run, tmp_path: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = task_file(tmp_path, "a.csv", TEST, head="embedding")
    ads.train_adapter(path, backbone=str(tiny_xlmr), steps=2, quiet=True)
    (tmp_path / "b.csv").write_text("query,text\nWho?,Ann.\nWhere?, \n", "utf-8")
    given = ["evaluate", "--task", str(path), "--with", "mine"]
    assert_one_line(run(*given, "--test-file", str(tmp_path / "b.csv")), 2, "text")
    (tmp_path / "b.csv").write_text("query\nWho?\n", "utf-8")
    result = run(*given, "--test-file", str(tmp_path / "b.csv"))
    assert_one_line(result, 2, "b.csv, line 2", "'text'")
