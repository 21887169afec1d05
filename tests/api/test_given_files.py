"""`train_file`, `dev_file` and `test_file`: rows of one's own in place of a task's splits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import adapter_stilts as ads
from adapter_stilts.cli import app
from adapter_stilts.data import load_examples
from adapter_stilts.data.parts import check_languages, given_files, with_files
from adapter_stilts.evaluation.data import resolve_split
from evaluation_kit import made_zoo, tiny

__all__ = ["made_zoo", "tiny"]
PAIR = {"premise": "It rains.", "hypothesis": "It is dry.", "label": "contradiction"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three pairs with the Hub's column names."""
    path = tmp_path / "mine [1].jsonl"  # a name with the signs of a glob
    path.write_text("".join(json.dumps({**PAIR, "uid": n}) + "\n" for n in "abc"), "utf-8")
    return path


def test_a_file_takes_the_place_of_one_split(rows: Path) -> None:
    task = with_files(ads.get_task("mnli"), {"dev": rows})
    found = load_examples(task, "dev", "sample")
    assert (len(found.examples), found.origin) == (3, str(rows))
    assert load_examples(task, "train", "sample").origin == "sample"
    assert given_files(task) == {"dev": rows}
    assert with_files(ads.get_task("mnli"), {}) is ads.get_task("mnli")


def test_a_split_that_a_task_does_not_have(rows: Path) -> None:
    task = with_files(ads.get_task("mnli"), {"test": rows})
    assert len(load_examples(task, "test", "hub").examples) == 3  # nothing is asked of the Hub
    target = with_files(ads.get_target("xquad"), {"dev": rows})
    assert resolve_split(target, "dev") == "dev"


def test_every_data_set_of_a_task_is_replaced(rows: Path) -> None:
    task = with_files(ads.get_task("anli-plus"), {"train": rows, "dev": rows})
    assert len(load_examples(task, "train", "sample").examples) == 3


def test_what_cannot_be_read(rows: Path, tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        with pytest.raises(ads.UserError, match=f"--{split}-file '.*' is not there"):
            with_files(ads.get_task("mnli"), {split: tmp_path / "no.jsonl"})
    with pytest.raises(ads.UserError, match="folder"):
        with_files(ads.get_task("mnli"), {"dev": tmp_path})
    other = rows.rename(tmp_path / "rows.xlsx")
    with pytest.raises(ads.UserError, match=r"rows\.xlsx': mnli reads files that end in .*\.jsonl"):
        with_files(ads.get_task("mnli"), {"dev": other})
    with pytest.raises(ads.UserError, match="tatoeba"):
        with_files(ads.get_target("tatoeba"), {"test": other})


def test_one_file_is_of_one_language(rows: Path, tmp_path: Path) -> None:
    target = with_files(ads.get_target("xnli"), {"test": rows})
    check_languages(target, "test", ["sw"])
    check_languages(target, "dev", ["sw", "de"])
    with pytest.raises(ads.UserError, match="--langs"):
        check_languages(target, "test", ["sw", "de"])
    several = with_files(ads.get_target("xnli"), {"test": tmp_path / "mine-{lang}.jsonl"})
    check_languages(several, "test", ["sw", "de"])


def test_evaluating_on_a_file(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for language in ("en", "ha"):  # one that the task lists, and one that it does not
        shutil.copy(tiny / "data" / "tiny-nli" / "test-de.tsv", tmp_path / f"mine-{language}.tsv")
    whole = ads.evaluate("tiny-nli", "nli", langs="de", data=str(tiny / "data"))[0]
    own = ads.evaluate(
        "tiny-nli", "nli", langs="ha", test_file="mine-ha.tsv", data=str(tiny / "data")
    )[0]
    assert own.scores["ha"] == whole.scores["de"] and own.folder != whole.folder
    both = ads.evaluate(
        "tiny-nli", "nli", langs="en,ha", test_file="mine-{lang}.tsv", data=str(tiny / "data")
    )[0]
    assert set(both.scores) == {"en", "ha"} and not both.missing
    with pytest.raises(ads.UserError, match="--langs"):
        ads.evaluate("tiny-nli", "nli", test_file="mine-ha.tsv", data=str(tiny / "data"))
    with pytest.raises(ads.UserError, match="--split dev"):
        ads.evaluate("tiny-nli", "nli", langs="ha", dev_file="mine-ha.tsv", data=str(tiny / "data"))


def test_training_on_files_alone(rows: Path, zoo: Path, tiny_xlmr: Path) -> None:
    """All three files of a target, without any data of its own; the test file is scored, once."""
    short: dict[str, Any] = {"steps": 1, "evaluations": 1, "max_length": 32, "quiet": True}
    made = ads.train_target(
        "xnli",
        train_file=rows,
        dev_file=str(rows),
        test_file=rows,
        data="hub",
        backbone=str(tiny_xlmr),
        **short,
    )
    assert made.record.data["dev"]["origin"] == str(rows)
    assert set(made.test_scores) == set(made.record.scores)
    assert made.test_scores == ads.load(made).score(
        load_examples(with_files(ads.get_task("mnli"), {"test": rows}), "test").examples.to_list()
    )


def test_odd_tags_are_named(
    tmp_path: Path, zoo: Path, tiny_xlmr: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As those of a task of one's own: before a training, and where rows are scored."""
    chunks = ["Ada\tB-PER", "in\tO", "Lund\tB-LOC", "", "so\tO", "Ulm\tI-LOC", ""]
    path = tmp_path / "mine.tsv"
    path.write_text("\n".join(chunks), "utf-8")
    made = {"backbone": str(tiny_xlmr), "quiet": True, "steps": 1, "evaluations": 1}
    files = {"train_file": path, "dev_file": path, "data": "sample", "max_length": 32}
    trained = ads.train_target("panx", **files, **made)  # type: ignore[arg-type]
    said = [line for line in caplog.messages if "I-LOC begins a chunk" in line]
    assert len(said) == 2 and f"{path}, line 6" in said[0]
    caplog.clear()
    ads.evaluate("panx", trained, langs="de", test_file=path, out=tmp_path / "out")
    assert f"{path}, line 6: I-LOC begins a chunk" in caplog.text
    caplog.clear()
    ads.evaluate("panx", trained, langs="de", data="sample", out=tmp_path / "sample")
    assert "begins a chunk" not in caplog.text


def test_several_tasks_have_task_files_instead() -> None:
    command = ["train-multitask", "--tasks", "squad,mnli", "--train-file", "x.csv"]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, ads.UserError) and "task new" in str(result.exception)
    with pytest.raises(TypeError, match="train_file"):
        ads.train_multitask("squad,mnli", train_file="x.csv")  # type: ignore[call-arg]
