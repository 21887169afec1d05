"""`task check` reads all that a task file names, and what a training says of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli_kit import Result, assert_one_line
from hub_kit import connect
from hub_server import COMMIT, serving
from own_kit import ROWS, task_file

Run = Callable[..., Result]
FEW = ("--steps", "2", "--evaluations", "1")
TAGS = "Anna B-PER\nruns O\n\nUlm B-LOC\nis O\n"
OTHER_TAGS = "Anna B-PER\nEon B-ORG\n\nSAP B-ORG\n"


def test_check_counts_what_every_file_has(run: Run, own: Path, tiny_xlmr: Path) -> None:
    code, out, err = run("task", "check", str(own / "reviews.yaml"), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    for part in ("train: ", "dev: ", "test (en): ", "test (de): "):
        assert f"\n{part}" in out
    assert "good " in out and "dev (en)" not in out


def test_check_counts_rows_of_the_training_data(run: Run, own: Path, tiny_xlmr: Path) -> None:
    first = (own / "train.csv").read_text("utf-8").splitlines()[1]
    (own / "dev.csv").write_text(f"review,verdict\n{first}\nSomething new.,good\n", "utf-8")
    code, out, err = run("task", "check", str(own / "reviews.yaml"), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    (dev,) = (line for line in out.splitlines() if line.startswith("dev: "))
    assert dev.startswith("dev: 2 examples") and dev.endswith(
        "; 1 of them stand in the training data, too"
    )
    assert "in the training data" not in out.replace(dev, "")


def test_check_says_which_label_is_looked_for(run: Run, own: Path, tiny_xlmr: Path) -> None:
    rows = "text,label\nfine,ham\nwin,spam\n"
    path = task_file(own, "a.csv", rows, "metric: f1", "labels: [spam, ham]")
    code, printed, err = run("task", "check", str(path), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    assert "f1 of 'ham'" in printed


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("dev.csv", None, ("dev.csv",)),
        ("test-de.csv", None, ("test-de.csv",)),
        ("dev.csv", "review,verdict\nNice.,fine\n", ("dev.csv, line 2", "'fine'")),
        ("test-de.csv", "review,verdict\nGut.,good\nNa.,fine\n", ("test-de.csv, line 3", "'fine'")),
        ("test-de.csv", "review,verdict\nGut.,good\nNaja.,\n", ("test-de.csv, line 3", "label")),
    ],
)  # fmt: skip
def test_check_finds_what_no_training_reads(
    run: Run, own: Path, tiny_xlmr: Path, file: str, content: str | None, words: tuple[str, ...]
) -> None:
    if content is None:
        (own / file).unlink()
    else:
        (own / file).write_text(content, "utf-8")
    given = ["task", "check", str(own / "reviews.yaml"), "--backbone", str(tiny_xlmr)]
    assert_one_line(run(*given), 2, *words)


HUB = (
    "name: mine\nhead: classification\nlabels: ['yes', 'no']\n"
    "hub: {id: ID, revision: 'REVISION', splits: {train: train, dev: validation}}\n"
)


@pytest.mark.parametrize(
    ("repo", "revision", "words"),
    [
        ("someone/nothing", COMMIT, ("someone/nothing",)),
        ("someone/there", COMMIT[::-1], ("someone/there", COMMIT[::-1])),
        ("not an id", COMMIT, ("not an id",)),
    ],
)
def test_check_asks_the_hub(
    run: Run,
    tmp_path: Path,
    tiny_xlmr: Path,
    monkeypatch: pytest.MonkeyPatch,
    repo: str,
    revision: str,
    words: tuple[str, ...],
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HUB.replace("ID", repo).replace("REVISION", revision), "utf-8")
    (tmp_path / "hub" / "someone" / "there").mkdir(parents=True)
    given = ["task", "check", str(path), "--backbone", str(tiny_xlmr)]
    with serving(tmp_path / "hub") as (url, asked):
        connect(monkeypatch, url, tmp_path / "cache")
        result = run(*given)
        assert asked or repo == "not an id"
    assert_one_line(result, 2, "mine.yaml, line 4", *words)
    assert "--data" not in result[2]  # it has no other data


def test_check_says_that_the_hub_cannot_be_reached(
    run: Run, tmp_path: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HUB.replace("ID", "someone/there").replace("REVISION", COMMIT), "utf-8")
    (tmp_path / "hub").mkdir()
    with serving(tmp_path / "hub") as (url, _):
        pass  # a port where nobody listens any more
    connect(monkeypatch, url, tmp_path / "cache")
    result = run("task", "check", str(path), "--backbone", str(tiny_xlmr))
    assert_one_line(result, 2, "mine.yaml, line 4", "someone/there", "reached")


def test_tags_that_no_training_example_has_are_named(
    run: Run, tmp_path: Path, tiny_xlmr: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = task_file(tmp_path, "a.conll", TAGS, head="tagging")
    (tmp_path / "b.conll").write_text(OTHER_TAGS, "utf-8")
    text = path.read_text("utf-8").replace("dev: a.conll, test: a", "dev: b.conll, test: b")
    path.write_text(text, "utf-8")
    named = ("2 of 3 tags", "b.conll", "B-ORG (2)")
    for given in (
        ["task", "check", str(path), "--backbone", str(tiny_xlmr)],
        ["train-adapter", "--task", str(path), "--backbone", str(tiny_xlmr), *FEW],
        ["evaluate", "--task", str(path), "--with", "mine", "--out", str(tmp_path / "p")],
    ):
        code, _, err = run(*given)
        assert code == 0, err
        assert any(all(word in said for word in named) for said in caplog.messages), err
        caplog.clear()


def test_dev_data_that_is_the_training_data_is_named(
    run: Run, tmp_path: Path, tiny_xlmr: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = task_file(tmp_path, "a.csv", ROWS)
    given = ["train-adapter", "--task", str(path), "--backbone", str(tiny_xlmr), *FEW]
    code, _, err = run(*given)
    assert code == 0 and "dev data is the training data" in caplog.text, err
    caplog.clear()
    (tmp_path / "b.csv").write_text(ROWS + "c,no\n", "utf-8")
    path.write_text(path.read_text("utf-8").replace("dev: a.csv", "dev: b.csv"), "utf-8")
    code, _, err = run(*given, "--overwrite")
    assert code == 0 and "dev data is the training data" not in caplog.text, err


def test_questions_without_an_answer_are_evaluated(
    run: Run, tmp_path: Path, tiny_xlmr: Path
) -> None:
    rows = "question,context,answer\nWho?,Anna runs.,Anna\nWhy?,Anna runs.,\n"
    path = task_file(tmp_path, "a.csv", rows, "unanswerable: true", head="span")
    given = ["train-adapter", "--task", str(path), "--backbone", str(tiny_xlmr), *FEW]
    code, _, err = run(*given)
    assert code == 0, err
    given = ["evaluate", "--task", str(path), "--with", "mine", "--out", str(tmp_path / "p")]
    code, out, err = run(*given)
    assert code == 0 and "no_ans_f1" in out, err


def test_check_shows_what_is_there_without_dev_data(run: Run, own: Path, tiny_xlmr: Path) -> None:
    path = task_file(own, "a.csv", ROWS)
    path.write_text(path.read_text("utf-8").replace("dev: a.csv, ", ""), "utf-8")
    code, out, err = run("task", "check", str(path), "--backbone", str(tiny_xlmr))
    assert code == 2
    assert "train: 2 examples" in out and "test (en): 2 examples" in out and "example 1" in out
    assert "mine.yaml, line 3" in err and "no dev data" in err and err.count("\n") == 1


@pytest.mark.parametrize("splits", ["test: a.csv", "dev: a.csv"])
def test_check_of_data_to_evaluate_on_alone(
    run: Run, own: Path, tiny_xlmr: Path, splits: str
) -> None:
    path = task_file(own, "a.csv", ROWS, "labels: [yes, no]")
    path.write_text(
        path.read_text("utf-8").replace("train: a.csv, dev: a.csv, test: a.csv", splits)
    )
    path.write_text(path.read_text("utf-8").replace("[yes, no]", "['yes', 'no']"), "utf-8")
    code, out, err = run("task", "check", str(path), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    assert f"{splits[:-7]} (en): 2 examples; yes 1, no 1" in out and "example 2" in out
    assert "mine has no training data: it can be evaluated, but not trained on" in out
