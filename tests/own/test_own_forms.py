"""Data in forms near to the usual ones: read as it is meant, or refused with the cause."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.own.build import load_task_file
from adapter_stilts.own.check import read_all
from adapter_stilts.own.new import look_at, new_task, task_of_files
from own_kit import PAIR, examples, task_file

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
TWICE = "Anna met Anna. Later Anna left."


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "conll", "conllu", "json"])
def test_a_pointer_of_git_lfs_is_no_data(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text(POINTER, "utf-8")
    head = {"conll": "tagging", "conllu": "tagging", "json": "span"}.get(ending, PAIR)
    with pytest.raises(UserError, match=r"Git LFS.*git lfs pull"):
        look_at(path, head)


def test_a_web_page_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("<!DOCTYPE html>\n<html>Sign in, please</html>\n", "utf-8")
    with pytest.raises(UserError, match="web page"):
        look_at(tmp_path / "a.csv", PAIR)


def test_parquet_that_is_cut_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(UserError, match="not a Parquet file that can be read"):
        look_at(tmp_path / "a.parquet", PAIR)


def test_what_is_wrong_with_rows_names_no_line_of_a_file_that_is_not_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("text,label\nso,good\n", "utf-8")
    files = {"train": tmp_path / "a.csv", "dev": tmp_path / "a.csv"}
    for make in (
        lambda: task_of_files(PAIR, files),
        lambda: new_task(PAIR, files, tmp_path / "mine.yaml", name="mine"),
    ):
        with pytest.raises(UserError, match=r"a\.csv: .*one label \(good\)") as caught:
            make()
        assert "line" not in str(caught.value) and "mine.yaml" not in str(caught.value)


def test_a_row_without_the_column_is_named(tmp_path: Path) -> None:
    rows = json_lines({"text": "a", "label": "x"}, {"text": "b"})
    (tmp_path / "a.jsonl").write_text(rows, "utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: no column 'label'.*text"):
        look_at(tmp_path / "a.jsonl", PAIR)


def test_members_of_objects_are_columns(tmp_path: Path) -> None:
    rows = [{"data": {"text": f"t{n}"}, "meta": {"label": "xy"[n % 2]}} for n in range(4)]
    (tmp_path / "a.jsonl").write_text(json_lines(*rows), "utf-8")
    with pytest.raises(UserError, match=r"'text'.*data\.text, meta\.label"):
        look_at(tmp_path / "a.jsonl", PAIR)
    found = look_at(tmp_path / "a.jsonl", PAIR, ["text=data.text", "label=meta.label"])
    assert found.parts == {"text": "data.text", "label": "meta.label"}
    assert found.words == (1, 1) and dict(found.labels) == {"x": 2, "y": 2}
    columns = "columns: {text: data.text, label: meta.label}"
    path = task_file(tmp_path, "a.jsonl", json_lines(*rows), columns)
    assert [(row["text_a"], row["label"]) for row in examples(path)][:2] == [("t0", 0), ("t1", 1)]
    path = task_file(tmp_path, "a.jsonl", json_lines(*rows), columns.replace("a.text", "a.txt"))
    with pytest.raises(UserError, match=r"no column 'data\.txt'.*did you mean 'data\.text'"):
        load_task_file(path)


@pytest.mark.parametrize(
    ("last", "texts"),
    [
        ('"a ""quoted"" word"\t"yes"\n', ["so", 'a "quoted" word']),
        ('"a ""quoted"" word"\tyes\n"never closed\tno\n', ["so", '"a ""quoted"" word"']),
    ],
)
def test_quotes_far_down_in_a_tsv_are_noticed(tmp_path: Path, last: str, texts: list[str]) -> None:
    """And where some are never closed, they are a part of the texts."""
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "so\tyes\nso\tno\n" * 20 + last, "utf-8")
    files = {"train": tmp_path / "a.tsv", "dev": tmp_path / "a.tsv"}
    text, own = new_task(PAIR, files, tmp_path / "mine.yaml", name="mine")
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    assert own.task.labels == ("no", "yes")
    assert {row["text_a"] for row in examples(tmp_path / "mine.yaml")} >= set(texts)


def test_a_label_in_quotes_is_another_spelling(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.tsv", 'text\tlabel\na\tyes\nb\tno\nc\t"yes"\n')
    with pytest.raises(UserError, match=r"a\.tsv, line 4: .*another spelling"):
        load_task_file(path)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("yes\u200f", r"line 4: .*'yes\\u200f'.*U\+200F\): remove it"),
        ("yes\u200d", "another spelling"),
        ("su\u0308ß", "other code points"),
    ],
)
def test_what_is_not_seen_of_a_label_is_said(tmp_path: Path, label: str, said: str) -> None:
    path = task_file(tmp_path, "a.csv", f"text,label\na,yes\nb,süß\nc,{label}\n")
    with pytest.raises(UserError, match=said):
        load_task_file(path)
    path = task_file(tmp_path, "a.csv", "text,label\na,می\u200cروم\nb,no\n")  # as it is written
    assert "می\u200cروم" in load_task_file(path).task.labels


def test_labels_that_are_true_and_false(tmp_path: Path) -> None:
    rows = json_lines(*({"text": "a", "label": each} for each in (True, False)))
    path = task_file(tmp_path, "a.jsonl", rows, "labels: [true, false]")
    with pytest.raises(UserError, match="reads a label as true: put it in quotes"):
        load_task_file(path)
    for labels in ('["true", "false"]', '["True", "False"]'):
        path = task_file(tmp_path, "a.jsonl", rows, f"labels: {labels}")
        assert [row["label"] for row in examples(path)] == [0, 1]


def test_numbers_of_listed_labels(tmp_path: Path) -> None:
    """As data sets from the Hub have them, and are saved."""
    table = pa.table({"tokens": [["Anna", "runs"], ["so"]], "ner_tags": [[1, 0], [0]]})
    parquet.write_table(table, tmp_path / "b.parquet")
    data = (tmp_path / "b.parquet").read_bytes()
    columns = "columns: {words: tokens, tags: ner_tags}"
    keys = (columns, "labels: [O, B-PER]")
    path = task_file(tmp_path, "a.parquet", data, *keys, head="tagging")
    assert [row["tags"] for row in examples(path)] == [["B-PER", "O"], ["O"]]
    assert [row["tags"] for row in examples(path, "test")] == [["B-PER", "O"], ["O"]]
    rows = json_lines(*({"text": "a", "label": each} for each in (1, 0, 2)))
    path = task_file(tmp_path, "a.jsonl", rows, "labels: [no, yes]")
    with pytest.raises(UserError, match=r"line 3: label '2' is not among 'labels'"):
        load_task_file(path)
    path = task_file(tmp_path, "a.jsonl", rows, "labels: ['2', '1', '0']")  # these are names
    assert [row["label"] for row in examples(path)] == [1, 2, 0]
    path = task_file(tmp_path, "a.csv", "text,label\na,1\nb,0\n", "labels: [no, yes]")
    with pytest.raises(UserError, match="label '1' is not among 'labels'"):
        load_task_file(path)


def test_tags_that_are_numbers_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = json_lines({"words": ["Anna", "runs"], "tags": [1, 0]}, {"words": ["so"], "tags": [0]})
    columns = "columns: {words: words, tags: tags}"
    path = task_file(tmp_path, "a.jsonl", rows, columns, head="tagging")
    with caplog.at_level(logging.WARNING):
        load_task_file(path)
    assert "a.jsonl, line 1: the tags are numbers (1, 0)" in caplog.text
    assert "'labels'" in caplog.text
    caplog.clear()
    keys = (columns, "metric: tag_accuracy")
    load_task_file(task_file(tmp_path, "a.jsonl", rows, *keys, head="tagging"))
    assert not caplog.records


def test_answers_that_stand_there_twice_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    question = {"question": "Who?", "context": TWICE}
    rows = [{**question, "answer": "Later"}, {**question, "answer": "Anna", "id": "b"}]
    path = task_file(tmp_path, "a.jsonl", json_lines(*rows), head="span")
    with caplog.at_level(logging.WARNING):
        load_task_file(path)
    assert "a.jsonl, line 2: the answer stands in its context several times" in caplog.text
    assert "1 such row" in caplog.text and "'start'" in caplog.text
    caplog.clear()
    starts = json_lines(*({**row, "start": TWICE.rfind(row["answer"])} for row in rows))
    path = task_file(tmp_path, "a.jsonl", starts, "columns: {start: start}", head="span")
    assert examples(path)[1]["answer_starts"] == [21]
    assert not caplog.records


def test_answers_as_in_squad(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A list of objects, each with its text and its start."""
    answers = [{"text": "Anna", "answer_start": 21}, {"text": "Anna left", "answer_start": 21}]
    rows = json_lines({"question": "Who?", "context": TWICE, "answers": answers})
    path = task_file(tmp_path, "a.jsonl", rows, "columns: {answer: answers}", head="span")
    (row,) = examples(path)
    assert (row["answers"], row["answer_starts"]) == (["Anna", "Anna left"], [21, 21])
    assert not caplog.records


def test_comments_have_other_columns_than_words(tmp_path: Path) -> None:
    data = "# made by hand on a day\n\n# a first sentence\nAnna B-PER\n# O\n\n# a note\nso O\n"
    path = task_file(tmp_path, "a.conll", data, head="tagging")
    assert [row["words"] for row in examples(path)] == [["Anna", "#"], ["so"]]
    data = data.replace(" B", "\tB").replace("# O", "#\tO").replace("so O", "so\tO")
    path = task_file(tmp_path, "a.conll", data, head="tagging")
    assert [row["words"] for row in examples(path)] == [["Anna", "#"], ["so"]]
    path = task_file(tmp_path, "a.conll", "#note\nAnna\tB-PER\n", head="tagging")
    with pytest.raises(UserError, match=r"a\.conll, line 1: '#note' has 1 columns.*comment"):
        examples(path)


def test_a_comment_of_one_word_is_no_word_with_a_tag(tmp_path: Path) -> None:
    data = "# note\nAnna B-PER\nruns O\n\n# later\n\n# NN\nso O\n"
    path = task_file(tmp_path, "a.conll", data, head="tagging")
    assert [row["words"] for row in examples(path)] == [["Anna", "runs"], ["#", "so"]]
    data = "# sym\nAnna B-per\n"  # tags may have small letters
    path = task_file(tmp_path, "a.conll", data, head="tagging")
    assert [row["words"] for row in examples(path)] == [["#", "Anna"]]


def test_answers_that_are_numbers_are_read_as_written(tmp_path: Path) -> None:
    row = {"question": "Which version?", "context": "Version 1.0 of 1999.", "answer": [1.0]}
    path = task_file(tmp_path, "a.jsonl", json_lines(row, {**row, "answer": 1999.0}), head="span")
    assert [row["answers"] for row in examples(path)] == [["1.0"], ["1999"]]  # as pandas has it


def test_line_ends_of_an_old_mac_are_refused(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.conll", "Anna\tB-PER\rruns\tO\r\rso\tO\r", head="tagging")
    with pytest.raises(UserError, match=r"a\.conll, line 1: .*carriage return"):
        examples(path)


def test_conllu_is_known_by_its_columns(tmp_path: Path) -> None:
    words = "1-2\tZum\t_\t_\t_\t_\t_\t_\t_\t_\n1\tzu\tzu\tADP\t_\t_\t0\troot\t_\t_\n"
    (tmp_path / "a.conll").write_text(f"# newdoc\n# text = Zum\n{words}", "utf-8")
    with pytest.raises(UserError, match=r"CoNLL-U.*\.conllu"):
        look_at(tmp_path / "a.conll", "tagging")


def test_conllu_without_tags_can_be_tagged(tmp_path: Path) -> None:
    """A treebank that is not annotated yet has an underscore for every tag."""
    word = "1\t{0}\t{0}\t{1}\t_\t_\t0\troot\t_\t_\n\n"
    path = task_file(
        tmp_path, "a.conllu", word.format("zu", "ADP") + word.format("x", "X"), head="tagging"
    )
    (tmp_path / "b.conllu").write_text(word.format("da", "_"), "utf-8")
    text = path.read_text("utf-8").replace("test: a", "test: b")
    path.write_text(text, "utf-8")
    target = load_task_file(path).target
    assert [row["tags"] for row in load_examples(target.at("en"), "test").examples] == [[]]


def test_what_is_odd_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = json_lines({"question": "Who?", "context": TWICE, "answer": "Anna"})
    path = task_file(tmp_path, "a.jsonl", rows, head="span")
    with caplog.at_level(logging.WARNING):
        load_task_file(path)
        load_task_file(path)
    assert len(caplog.records) == 1


def test_one_example_is_no_examples(tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.conll", "Anna B-PER\nruns O\n", head="tagging")
    assert next(read_all(load_task_file(path))).startswith("train: 1 example;")
