"""A task file from data, a look at it, and the shortest way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts.data import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.own.build import listed_labels, load_task_file
from adapter_stilts.own.new import look_at, new_task, task_of_files, usual_name
from adapter_stilts.tasks.spec import TaskSpec
from cli_kit import Result, assert_one_line

Run = Callable[..., Result]
BODY = "O nice\tyes\nbad and long\tno\nfine as it is\tyes\nso so\tno\n"


@pytest.mark.parametrize(
    ("head", "name", "data"),
    [
        ("classification", "a.csv", "review,verdict\nso good,y\nso bad,n\nso fine,y\nso dry,n\n"),
        ("classification", "a.csv", "sentence1;sentence2;label\na;b;1\nc;d;0\n"),
        ("classification", "a.tsv", "text\tlabel\n" + BODY),
        ("tagging", "a.conll", "Anna NNP B-PER\nruns VBZ O\n\nUlm NNP B-LOC\n"),
        ("choice", "a.csv", "prompt,option_a,option_b,label\nWhy?,so,no,1\nHow?,so,no,0\n"),
        ("span", "a.jsonl", '{"question": "Who?", "context": "Anna runs.", "answer": "Anna"}\n'),
        ("embedding", "a.csv", "query,text\nWho runs?,Anna runs.\n"),
    ],
)
def test_new_file_reads_its_data_and_is_shown(
    run: Run, tmp_path: Path, tiny_xlmr: Path, head: str, name: str, data: str
) -> None:
    (tmp_path / name).write_text(data, "utf-8")
    out = tmp_path / "mine.yaml"
    given = ["task", "new", "--head", head, "--data", str(tmp_path / name), "--name", "mine"]
    code, printed, err = run(*given, "--dev-file", str(tmp_path / name), "--out", str(out))
    assert code == 0, err
    assert "with the columns" in printed
    assert load_task_file(out).task.head == head
    code, printed, err = run("task", "check", str(out), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    assert "example 1" in printed and "pieces: <s>" in printed
    code, _, err = run(*given, "--out", str(out))
    assert code == 2 and "--overwrite" in err


def test_columns_of_any_name_are_named_by_the_user(
    run: Run, tmp_path: Path, tiny_xlmr: Path
) -> None:
    rows = "".join(f"a man {n}\ta dog {n}\t{n}.5\tx\n" for n in range(4))
    (tmp_path / "a.tsv").write_text("first\tsecond\thow alike\tnote\n" + rows, "utf-8")
    out = tmp_path / "mine.yaml"
    given = ["task", "new", "--head", "regression", "--data", str(tmp_path / "a.tsv")]
    given += ["--out", str(out)]
    code, _, err = run(*given)
    assert code == 2 and "'text'" in err and "--column text=NAME" in err
    columns = [f"--column={each}" for each in ("text=first", "text_b=second", "score=how alike")]
    code, printed, err = run(*given, *columns, "--dev-file", str(tmp_path / "a.tsv"))
    assert code == 0, err
    assert "not used: note" in printed
    code, printed, err = run("task", "check", str(out), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    assert "text_a: a man 0" in printed and "text_b: a dog 0" in printed and "0.5" in printed


@pytest.mark.parametrize(
    ("head", "name", "data", "columns", "found"),
    [
        ("tagging", "a.conll", "Anna B-PER NNP\n\nUlm B-LOC NNP\n", ["tags=2"], {"tags": 2}),
        (
            "classification",
            "a.csv",
            "a long text of five words,b,y\nso it is,c,n\n",
            ["text=1"],
            {"text": 1, "text_b": 2, "label": 3},
        ),
        (
            "choice",
            "a.csv",
            "q,x,y,right\nWhy?,so,no,1\nHow?,so,no,0\n",
            ["prompt=q", "options=x", "options=y", "label=right"],
            {"options": ["x", "y"], "label": "right"},
        ),
    ],
)
def test_named_columns_win(
    tmp_path: Path, head: str, name: str, data: str, columns: list[str], found: dict[str, object]
) -> None:
    (tmp_path / name).write_text(data, "utf-8")
    parts = look_at(tmp_path / name, head, columns).parts
    assert found.items() <= parts.items()


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ("text", "PART=COLUMN"),
        ("txt=review", "text"),
        ("text=reviw", "did you mean 'review'"),
        ("text=", "column"),
        ("label=verdict", "'label' is one column"),
    ],
)
def test_a_wrong_column_is_refused(tmp_path: Path, column: str, named: str) -> None:
    (tmp_path / "a.csv").write_text("review,verdict\nso good,y\nso bad,n\n", "utf-8")
    with pytest.raises(UserError) as refused:
        look_at(tmp_path / "a.csv", "classification", [column, "label=verdict"])
    assert named in str(refused.value)


def test_an_index_without_a_name_is_a_column_like_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",text,label\n0,so good,y\n1,so bad,n\n", "utf-8")
    found = look_at(tmp_path / "a.csv", "classification")
    assert found.parts == {"text": "text", "label": "label"}
    assert found.rows == 2


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.csv", "text,label,text\na,y,b\nc,n,d\n", ("line 1", "'text' twice")),
        ("a.csv", "text,,label\na,x,y\nc,x,n\n", ("line 1", "distinct")),
        ("a.csv", "text,label\rso good,y\rso bad,n\r", ("line 1", "carriage return")),
        ("a.csv", '"text,label\nso good,y\nso bad,n\n', ("line 1", "quote")),
        ("a.json", '[{"text": "a", "label": "y"}]', ("a.json", "JSON Lines")),
        (".", "", ("is a folder",)),
    ],
)
def test_what_cannot_be_looked_at_is_said(
    tmp_path: Path, name: str, data: str, named: tuple[str, ...]
) -> None:
    if data:
        (tmp_path / name).write_bytes(data.encode())
    with pytest.raises(UserError) as refused:
        look_at(tmp_path / name, "classification")
    assert all(each in str(refused.value) for each in named), refused.value


def test_what_is_cut_is_said(run: Run, tmp_path: Path, tiny_xlmr: Path) -> None:
    rows = "".join(f"{'many words ' * 20},{label}\n" for label in "ab")
    (tmp_path / "a.csv").write_text("text,label\n" + rows, "utf-8")
    (tmp_path / "a.yaml").write_text(
        "name: mine\nhead: classification\nfiles: {train: a.csv, dev: a.csv}\nmax_length: 16\n"
    )
    code, out, err = run("task", "check", str(tmp_path / "a.yaml"), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    assert "16 pieces" in out and "are cut" in out
    (tmp_path / "a.csv").write_text(
        "text,label\n" + rows.replace("many words", "words " * 20), "utf-8"
    )
    code, out, err = run("task", "check", str(tmp_path / "a.yaml"), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    assert "characters in all" in out and max(map(len, out.splitlines())) < 600
    (tmp_path / "a.csv").write_text(f"text,label\n{'many ' * 20_000},a\nb,b\n", "utf-8")
    file = tmp_path / "a.yaml"
    file.write_text(file.read_text("utf-8").replace("16", "512"), "utf-8")
    code, out, err = run("task", "check", str(file), "--backbone", str(tiny_xlmr))
    assert code == 0, err
    cut = re.search(r"([\d,]+) pieces are cut", out)
    assert cut and int(cut[1].replace(",", "")) > 19_000, "all of it, not what a backbone takes"
    assert "128 at most" in out


def test_running_numbers_are_no_words(tmp_path: Path) -> None:
    """As in files that are made of CoNLL-U."""
    for first in (0, 1):
        rows = "".join(f"{n + first} w{n} O\n" for n in range(3))
        (tmp_path / "a.conll").write_text(f"{rows}\n{rows}", "utf-8")
        assert look_at(tmp_path / "a.conll", "tagging").parts == {"words": 2, "tags": 3}
    (tmp_path / "a.conll").write_text("1 O\n2 O\n", "utf-8")
    assert look_at(tmp_path / "a.conll", "tagging").parts == {"words": 1, "tags": 2}


def test_what_excel_adds_is_not_read(tmp_path: Path) -> None:
    """Columns without a name and rows without a cell, at the ends."""
    table = "\ufefftext,label,,\r\nso,a,,\r\nso so,b,,\r\n,,,\r\n,,,\r\n"
    (tmp_path / "a.csv").write_text(table, "utf-8")
    found = look_at(tmp_path / "a.csv", "classification")
    assert (found.parts, found.rows) == ({"text": "text", "label": "label"}, 2)
    (tmp_path / "a.csv").write_text(table.replace("so so,b,,", "so so,b,c,"), "utf-8")
    with pytest.raises(UserError, match=r"a\.csv, line 3: 4 cells"):
        look_at(tmp_path / "a.csv", "classification")
    (tmp_path / "a.csv").write_text("text,label\na,a\n,\nb,b\n", "utf-8")
    assert look_at(tmp_path / "a.csv", "classification").rows == 3, "one between is not hidden"
    (tmp_path / "a.csv").write_text("sep=;\ntext;label\na;b\n", "utf-8")
    with pytest.raises(UserError, match=r"a\.csv, line 1: 'sep=;'.*remove"):
        look_at(tmp_path / "a.csv", "classification")


def test_a_text_of_zero_width_is_empty(tmp_path: Path) -> None:
    rows = "\u200b\u200b,a\n\u0645\u200c\u0631,b\n"
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}", "utf-8")
    given = {"train": tmp_path / "a.csv", "dev": tmp_path / "a.csv"}
    task = task_of_files("classification", given).task
    with pytest.raises(UserError, match=r"a\.csv, line 2: the text is empty"):
        load_examples(task, "train")


def test_shortest_way(run: Run, own: Path, tiny_xlmr: Path, zoo: Path) -> None:
    given = ["train-adapter", "--head", "classification", "--backbone", str(tiny_xlmr)]
    files = ["--train-file", str(own / "train.csv"), "--dev-file", str(own / "dev.csv")]
    code, _, err = run(*given, *files, "--steps", "2", "--evaluations", "1")
    assert code == 0, err
    assert (zoo / tiny_xlmr.name / "own" / "module.json").is_file()
    code, _, err = run(*given, "--train-file", str(own / "train.csv"))
    assert code == 2 and "--dev-file" in err


def test_names_and_missing_columns(own: Path, tmp_path: Path) -> None:
    assert usual_name(Path("x/reviews-train.csv")) == "reviews"
    assert usual_name(own / "train.csv") == "own"
    task = task_of_files("classification", {"train": own / "train.csv", "dev": own / "dev.csv"})
    assert task.task.labels == ("bad", "good")
    with pytest.raises(UserError, match="'question'"):
        look_at(own / "train.csv", "span")
    with pytest.raises(UserError, match="classification"):
        look_at(own / "train.csv", "clasification")


@pytest.mark.parametrize(
    ("head", "name", "data", "more", "words"),
    [
        ("classification", "a.jsonl", '{"text": "a", "label": ["x"]}\n', (), ("a.jsonl, line 1",)),
        ("classification", "a.csv", "text,label\na,Yes\nb,yes\n", (), ("a.csv, line 3", "'yes'")),
        ("classification", "a.csv", "text,label\na,yes\nb,yes\n", (), ("one label", "yes")),
        ("classification", "a.csv", "text,label\na,y\nb,n\n", ("--name", "squad"), ("'squad'",)),
        ("classification", "a.csv", "text,label\na,y\nb,n\n", ("--dev-file", "b.csv"), ("b.csv",)),
        ("classification", "a.csv", "text,label\na,y\nb,n\n", ("--out", "no/a.yaml"), ("'no'",)),
        (
            "choice",
            "a.jsonl",
            '{"prompt": "q", "options": ["so", "no"], "label": "so"}\n',
            (),
            ("a.jsonl", "so", "number"),
        ),
        ("tagging", "a.jsonl", '{"words": ["a", null], "tags": ["x", "y"]}\n', (), ("'words'",)),
    ],
)  # fmt: skip
def test_no_task_file_is_written_that_could_not_be_used(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    head: str,
    name: str,
    data: str,
    more: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(data, "utf-8")
    assert_one_line(run("task", "new", "--head", head, "--data", name, *more), 2, *words)
    assert not list(tmp_path.rglob("*.yaml"))


def test_a_first_line_whose_label_comes_again_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("so good,yes\nso bad,no\nfine,yes\nmeh,no\n", "utf-8")
    found = look_at(tmp_path / "a.csv", "classification")
    assert (found.rows, found.keys["header"]) == (4, False)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        ("so good,1\nso bad,0\n", False),
        ("0,1\nso good,2\nso bad,3\n", True),
        ("2019,text\n1,good\n0,bad\n", True),
    ],
)
def test_a_number_above_numbers_is_no_name(tmp_path: Path, data: str, header: bool) -> None:
    (tmp_path / "a.csv").write_text(data, "utf-8")
    columns = ["label=1", "text=0"] if data.startswith("0") else []
    columns = ["label=2019"] if data.startswith("2") else columns
    found = look_at(tmp_path / "a.csv", "classification", columns)
    assert found.keys.get("header", True) is header
    assert found.rows == 2
    if columns:  # a name is no number
        assert found.parts["label"] == columns[0].partition("=")[2]
        assert task_of_columns(tmp_path / "a.csv", columns).labels == tuple(sorted(found.labels))


def task_of_columns(path: Path, columns: list[str]) -> TaskSpec:
    files = {"train": path, "dev": path}
    return new_task("classification", files, path, name="mine", columns=columns)[1].task


def test_labels_that_count_from_0_or_from_1_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = '{"prompt": "q", "options": ["a", "b", "c"], "label": LABEL}\n'
    for labels, named in (("12", True), ("02", False), ("13", False)):
        caplog.clear()
        (tmp_path / "a.jsonl").write_text("".join(row.replace("LABEL", x) for x in labels))
        task_of_files("choice", {"train": tmp_path / "a.jsonl", "dev": tmp_path / "a.jsonl"})
        assert ("1, 2, 3" in caplog.text) is named, labels


@pytest.mark.parametrize(
    ("labels", "options", "named"),
    [
        ("01", 2, ()),
        ("0", 3, ()),
        ("12", 2, ("1", "2")),
        ("3", 3, ("1", "2", "3")),
        ("A", 2, ("A", "B")),
        ("cb", 4, ("a", "b", "c", "d")),
    ],
)
def test_labels_of_options_are_found(
    tmp_path: Path, labels: str, options: int, named: tuple[str, ...]
) -> None:
    listed = ", ".join(f'"option {number}"' for number in range(options))
    rows = [f'{{"prompt": "q", "options": [{listed}], "label": "{each}"}}\n' for each in labels]
    (tmp_path / "a.jsonl").write_text("".join(rows), "utf-8")
    own = task_of_files("choice", {"train": tmp_path / "a.jsonl", "dev": tmp_path / "a.jsonl"})
    assert own.task.choices == options
    assert listed_labels(own.file) == named
