"""`load_examples` from folders: finding files, complaints, the cache, the limit."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adapter_stilts.data import cache as cache_module
from adapter_stilts.data import data_status, load_examples, parts
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.heads.classification import PairExample
from adapter_stilts.tasks.registry import get_target, get_task
from adapter_stilts.tasks.spec import Row, Split
from formats_kit import Writer

NLI = {"premise": "A dog barks.", "hypothesis": "An animal barks.", "label": 0}
QQP = {"question1": "Who?", "question2": "Which?", "label": 1}
CHOICE = {"ind": 4, "ctx": "She sits", "endings": ["a", "b", "c", "d"], "label": 3}
CSQA = {
    "id": "x",
    "answerKey": "B",
    "question": {
        "stem": "Where?",
        "choices": [{"label": letter, "text": letter.lower()} for letter in "ABCDE"],
    },
}
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label"
CCG = {"tokens": ["a", "dog"], "ccg_tags": ["NP/N", "N"]}


def lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def squad(*questions: Mapping[str, Any], context: str = "Ada Lovelace wrote it.") -> str:
    paragraph = {"context": context, "qas": list(questions)}
    return json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": [paragraph]}]})


def question(name: str = "q1", text: str = "Ada Lovelace", start: int = 0) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "answers": [{"text": text, "answer_start": start}]}


def complaint(task: str, folder: Path, split: Split = "train") -> str:
    """What the user reads, without the folder's name."""
    with pytest.raises(UserError) as caught:
        load_examples(get_task(task), split, str(folder))
    said = str(caught.value)
    assert "\n" not in said
    return said.replace(str(folder), "DATA")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


# ---- where files lie


@pytest.mark.parametrize("below", ["", "squad/", "SQuAD/"])
def test_parent_folder_or_the_folder_itself(write: Writer, data: Path, below: str) -> None:
    write(f"{below}train-v1.1.json", squad(question()))
    path = write(f"{below}dev-v1.1.json", squad(question("d")))
    found = load_examples(get_task("squad"), "dev", str(data))
    assert found.origin == str(data)
    assert found.parts == (
        {"name": "squad", "files": [str(path)], "rows_kept": 1, "rows_left_out": 0},
    )
    assert found.examples[0] == {
        "id": "d",
        "question": "Who?",
        "context": "Ada Lovelace wrote it.",
        "answers": ["Ada Lovelace"],
        "answer_starts": [0],
    }


def test_environment_names_the_folder(
    write: Writer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("qqp/train.jsonl", lines(QQP))
    write("qqp/validation.jsonl", lines(QQP))
    monkeypatch.setenv("ADSTILTS_DATA", str(data))
    assert load_examples(get_task("qqp"), "train").origin == str(data)


def test_one_split_is_enough_for_itself(write: Writer, data: Path) -> None:
    write("squad/dev-v1.1.json", squad(question()))
    assert len(load_examples(get_task("squad"), "dev", str(data)).examples) == 1
    assert complaint("squad", data) == (
        "no train data of squad in 'DATA': expected train-v1.1.json there or in 'DATA/squad'"
    )
    assert not data_status(get_task("squad"), str(data)).found


def test_missing_or_odd_folder(write: Writer, data: Path) -> None:
    says = ": --data takes 'hub', 'sample' or a folder"
    assert complaint("squad", data) == f"data folder 'DATA' is not there{says}"
    path = write("a.json", "{}")
    assert complaint("squad", path) == f"data folder 'DATA' is a file, not a folder{says}"


def test_ccg_says_how_to_get_it(write: Writer, data: Path) -> None:
    write("x", "x")
    assert "CCGbank (LDC2005T13) is licensed" in complaint("ccg", data)


@pytest.mark.parametrize("below", ["", "data/", "ccgbank_1_1/data/"])
def test_ccgbank_sections(write: Writer, data: Path, below: str) -> None:
    for section in ("00", "01", "02", "09", "10", "21", "22", "23", "24"):
        tree = f"ID=wsj_{section}01.1\n(<L N NN NN s{section} N>)\n"
        write(f"{below}AUTO/{section}/wsj_{section}01.auto", tree)
    write(f"{below}AUTO/03/wsj_0301.auto", "")
    with pytest.raises(UserError, match="the file is empty"):
        load_examples(get_task("ccg"), "train", str(data))
    write(f"{below}AUTO/03/wsj_0301.auto", "\n")  # no derivation, but a whole file
    train = load_examples(get_task("ccg"), "train", str(data))
    assert [words for (words,) in train.examples["words"]] == ["s02", "s09", "s10", "s21"]
    dev = load_examples(get_task("ccg"), "dev", str(data))
    assert [words for (words,) in dev.examples["words"]] == ["s00"]


def test_ccg_pipe(write: Writer, data: Path) -> None:
    for split in ("train", "dev"):
        write(f"ccg/{split}.pipe", "a|DT|NP/N dog|NN|N\n")
    found = load_examples(get_task("ccg"), "dev", str(data)).examples[0]
    assert found == {"id": "ccg-0", "words": ["a", "dog"], "tags": ["NP/N", "N"]}


def test_official_nli_releases(write: Writer, data: Path) -> None:
    row = {"gold_label": "neutral", "sentence1": "p", "sentence2": "h", "pairID": "7n"}
    for split in ("train", "dev"):
        tag = "dev_matched" if split == "dev" else split
        write(f"multinli_1.0/multinli_1.0_{tag}.jsonl", lines(row))
        write(f"snli_1.0/snli_1.0_{split}.jsonl", lines(row, {**row, "gold_label": "-"}))
        for number in (1, 2, 3):
            anli = {"uid": f"u{number}", "context": "c", "hypothesis": "h", "label": "c"}
            write(f"anli_v1.0/R{number}/{split}.jsonl", lines(anli))
    found = load_examples(get_task("anli-plus"), "train", str(data))
    assert list(found.examples["label"]) == [1, 1, 2, 2, 2]
    assert list(found.examples["id"]) == ["7n", "7n", "u1", "u2", "u3"]
    assert [(part["rows_kept"], part["rows_left_out"]) for part in found.parts] == [
        (1, 1),
        (1, 0),
        (3, 0),
    ]


def test_glue_qqp_rows_cut_in_two_are_left_out(write: Writer, data: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    rows = '1\t1\t2\tWho "are?\tWhich?\t1\n2\t3\t4\tcut\nhere?\tWhy?\t0\n'
    for name in ("train", "dev"):
        write(f"QQP/{name}.tsv", header + rows)
    found = load_examples(get_task("qqp"), "dev", str(data))
    assert found.examples[0] == {"id": "1", "text_a": 'Who "are?', "text_b": "Which?", "label": 1}
    assert found.parts[0]["rows_left_out"] == 2


def test_one_round_of_anli_missing(write: Writer, data: Path) -> None:
    for name in ("mnli/validation_matched", "mnli/train", "snli/train", "snli/validation"):
        write(f"{name}.jsonl", lines(NLI))
    write("anli/train_r1.jsonl", lines(NLI))
    assert complaint("anli", data) == (
        "no train data of anli-plus in 'DATA': expected train_r1.jsonl, train_r2.jsonl, "
        "train_r3.jsonl or R1/train.jsonl, R2/train.jsonl, R3/train.jsonl there or in 'DATA/anli'"
    )


# ---- what bad rows get


@pytest.mark.parametrize(
    ("task", "file", "content", "said"),
    [
        (
            "mnli",
            "mnli/train.jsonl",
            lines(NLI, {"premise": "a", "text": "b", "label": 1}),
            "line 2: no column 'hypothesis' (the columns are premise, text, label)",
        ),
        (
            "mnli",
            "mnli/multinli_1.0_train.jsonl",
            lines({"gold_label": "neutral", "text": "a", "sentence2": "b"}),
            "line 1: no column 'sentence1' (the columns are gold_label, text, sentence2)",
        ),
        (
            "mnli",
            "mnli/train.jsonl",
            lines({**NLI, "label": 3}),
            "line 1: label 3 is outside the set (0 entailment, 1 neutral, 2 contradiction)",
        ),
        (
            "mnli",
            "mnli/train.jsonl",
            lines({**NLI, "label": "Entailment"}),
            "line 1: label 'Entailment' is outside the set (0 entailment, 1 neutral, 2 "
            "contradiction)",
        ),
        (
            "mnli",
            "mnli/train.jsonl",
            lines({**NLI, "premise": 5}),
            "line 1: column 'premise' is 5 where a text was expected",
        ),
        (
            "mnli",
            "mnli/train.jsonl",
            lines({**NLI, "premise": "", "hypothesis": ""}),
            "line 1: both texts are empty",
        ),
        (
            "mnli",
            "mnli/train.jsonl",
            lines({**NLI, "label": [0]}),
            "line 1: a value of another type than expected (unhashable type: 'list')",
        ),
        ("mnli", "mnli/train.jsonl", "\n\n", "the file has no rows (jsonl expected)"),
        (
            "qqp",
            "qqp/train.jsonl",
            lines({**QQP, "label": 2}),
            "line 1: label 2 is outside the set (0 not_duplicate, 1 duplicate)",
        ),
        (
            "hellaswag",
            "hellaswag/hellaswag_train.jsonl",
            lines(CHOICE, {**CHOICE, "endings": ["a", "b", "c"], "label": 1}),
            "line 2: 3 options where hellaswag has 4",
        ),
        (
            "hellaswag",
            "hellaswag/hellaswag_train.jsonl",
            lines({**CHOICE, "label": ""}),
            "line 1: label '' is outside the set (0 to 3)",
        ),
        (
            "hellaswag",
            "hellaswag/hellaswag_train.jsonl",
            lines({**CHOICE, "endings": "abcd"}),
            "line 1: column 'endings' is 'abcd' where a list of texts was expected",
        ),
        (
            "hellaswag",
            "hellaswag/hellaswag_train.jsonl",
            lines({**CHOICE, "ctx": ""}),
            "line 1: the prompt or the right option is empty",
        ),
        (
            "csqa",
            "csqa/train_rand_split.jsonl",
            lines({**CSQA, "answerKey": "F"}),
            "line 1: label 'F' is outside the set (0 A, 1 B, 2 C, 3 D, 4 E)",
        ),
        (
            "csqa",
            "csqa/train_rand_split.jsonl",
            lines({"id": "x", "question": CSQA["question"]}),
            "line 1: no column 'answerKey' (the columns are id, question)",
        ),
        (
            "csqa",
            "csqa/train_rand_split.jsonl",
            lines({**CSQA, "question": {"stem": "Where?"}}),
            "line 1: no column 'choices' (the columns are id, answerKey, question)",
        ),
        (
            "cosmos",
            "cosmos_qa/train.csv",
            f"{COSMOS}\nx,c,q,a,b,c,d,0\ny,c,q,a,b,c,d,4\n",
            "line 3: label 4 is outside the set (0 to 3)",
        ),
        (
            "cosmos",
            "cosmos_qa/train.csv",
            f"{COSMOS.replace('answer3', 'answer4')}\nx,c,q,a,b,c,d,0\n",
            "line 2: no column 'answer3' (the columns are id, context, question, answer0, "
            "answer1, answer2, answer4, label)",
        ),
        (
            "ccg",
            "ccg/pmb_en_train.jsonl",
            lines(CCG, {**CCG, "ccg_tags": ["N"]}),
            "line 2: 2 words but 1 tags",
        ),
        (
            "ccg",
            "ccg/pmb_en_train.jsonl",
            lines({"tokens": [], "ccg_tags": []}),
            "line 1: the sentence has no words",
        ),
        (
            "squad",
            "squad/train-v1.1.json",
            squad(question(), question("q2", "Lovelace", 3)),
            "question 'q2': the answer 'Lovelace' is not at its offset 3, ' Lovelac' stands there"
            ": --skip-bad-rows leaves such rows out of a training",
        ),
        (
            "squad",
            "squad/train-v1.1.json",
            squad(question("q1", "it.", -3)),
            "question 'q1': the answer 'it.' is not at its offset -3, '' stands there"
            ": --skip-bad-rows leaves such rows out of a training",
        ),
        (
            "squad",
            "squad/train-v1.1.json",
            squad({**question(), "answers": []}),
            "question 'q1': the question has no answer (squad-v2 is the task for these)",
        ),
        (
            "squad",
            "squad/train-v1.1.json",
            squad(question(), question()),
            "question 'q1': this id appears a second time",
        ),
        ("squad", "squad/train-v1.1.json", squad(), "the file has no rows (squad expected)"),
    ],
)
def test_bad_rows(
    write: Writer, data: Path, cache: Path, task: str, file: str, content: str, said: str
) -> None:
    write(file, content)
    separator = ", " if said.startswith(("line", "question")) else ": "
    assert complaint(task, data) == f"DATA/{file}{separator}{said}"
    # Nothing half-written is left behind.
    assert not list((cache / "examples").glob("*/"))
    assert not list((cache / "examples").rglob("*.arrow"))


def test_rows_that_are_all_left_out(write: Writer, data: Path) -> None:
    write("snli_1.0_train.jsonl", lines({"gold_label": "-", "sentence1": "", "sentence2": ""}))
    snli = next(source for source in get_task("anli").sources if source.name == "snli")
    task = dataclasses.replace(get_task("anli"), sources=(snli,))
    with pytest.raises(UserError, match=r"^snli: none of its 1 rows can be used$"):
        load_examples(task, "train", str(data))


def test_half_an_answer_is_no_answer(write: Writer, data: Path) -> None:
    write("squad_v2/train-v2.0.json", squad({**question(), "answers": [], "is_impossible": True}))
    found = load_examples(get_task("squad-v2"), "train", str(data)).examples[0]
    assert found["answers"] == [] and found["answer_starts"] == []


# ---- answers that are not at their offsets, and other rows that cannot be used


def shifted(write: Writer, name: str) -> Path:
    asked = [question(f"q{number}", start=int(number in (3, 5, 6))) for number in range(8)]
    return write(name, squad(*asked))


def test_offsets_play_no_part_where_nothing_is_learnt(write: Writer, data: Path) -> None:
    shifted(write, "xquad/xquad.de.json")
    shifted(write, "squad/dev-v1.1.json")
    read = [
        load_examples(get_target("xquad").at("de"), "test", str(data)),
        load_examples(get_task("squad"), "dev", str(data)),
    ]
    assert [len(each.examples) for each in read] == [8, 8]
    assert {text for each in read for texts in each.examples["answers"] for text in texts} == {
        "Ada Lovelace"
    }


def test_in_training_one_is_told_how_many_and_can_leave_them_out(
    write: Writer, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shifted(write, "squad/train-v1.1.json")
    said = complaint("squad", data)
    assert "train-v1.1.json, question 'q3': the answer 'Ada Lovelace' is not at its" in said
    assert "; 2 more answers are not at theirs: --skip-bad-rows" in said
    for _ in "12":  # found in the cache, they are told again
        caplog.clear()
        found = load_examples(get_task("squad"), "train", str(data), skip_bad=True)
        assert found.examples["id"][:] == ["q0", "q1", "q2", "q4", "q7"]
        assert found.parts[0]["rows_kept"] == 5 and found.parts[0]["rows_bad"] == 3
        assert "first_bad" not in found.parts[0]  # a path of the user's, in what may be shared
        assert "squad: 3 rows that cannot be used are left out, such as " in caplog.text
    assert "q3" in complaint("squad", data)  # what was read with the option is not taken without


def test_other_bad_rows_can_be_left_out_too(write: Writer, data: Path) -> None:
    write("qqp/train.jsonl", lines(QQP, {**QQP, "label": 7}, QQP, {**QQP, "question1": 3}))
    assert "line 2: label 7" in complaint("qqp", data)
    found = load_examples(get_task("qqp"), "train", str(data), skip_bad=True)
    assert len(found.examples) == 2 and found.parts[0]["rows_bad"] == 2


def test_a_sentence_is_not_learnt_from_a_wrong_offset(write: Writer, data: Path) -> None:
    shifted(write, "squad/train-v1.1.json")
    (task,) = get_target("lareqa").trained_in("en")
    with pytest.raises(UserError, match=r"question 'q3': .* 2 more answers"):
        load_examples(task, "train", str(data))


@pytest.mark.parametrize("split", ["dev", "test", "train"])
def test_contradictory_is_a_contradiction(write: Writer, data: Path, split: Split) -> None:
    write(f"xnli/{split}-de.tsv", "a\tb\tcontradictory\nc\td\tneutral\n")
    target = get_target("xnli")
    task = target.trained_in("de")[0] if split == "train" else target.at("de")
    assert load_examples(task, split, str(data)).examples["label"][:] == [2, 1]


# ---- fingerprint, cache, limit


@pytest.fixture
def pairs(write: Writer, data: Path) -> Path:
    for name in ("train", "validation"):
        rows = [{**QQP, "question1": f"{name} {number}?"} for number in range(2500)]
        write(f"qqp/{name}.jsonl", lines(*rows))
    return data


def refuse(*args: Any) -> Any:
    raise AssertionError("a source file was read")


def test_second_load_reads_no_source_file(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    first = load_examples(get_task("qqp"), "train", str(pairs))
    monkeypatch.setattr(parts, "read_rows", refuse)
    monkeypatch.setattr(
        cache_module,
        "file_sha256",
        lambda path: file_sha256(path) if path.suffix == ".arrow" else refuse(),
    )
    again = load_examples(get_task("qqp"), "train", str(pairs))
    assert again.fingerprint == first.fingerprint
    assert again.parts == first.parts
    assert again.examples.to_list() == first.examples.to_list()
    assert len(again.examples) == 2500


def test_fingerprint_is_of_content(pairs: Path, write: Writer, tmp_path: Path) -> None:
    task = get_task("qqp")
    first = load_examples(task, "train", str(pairs))
    (pairs / "qqp").rename(tmp_path / "elsewhere")
    assert load_examples(task, "train", str(tmp_path / "elsewhere")).fingerprint == (
        first.fingerprint
    )
    assert load_examples(task, "dev", str(tmp_path / "elsewhere")).fingerprint != first.fingerprint
    write("qqp/train.jsonl", lines(QQP))
    changed = load_examples(task, "train", str(pairs))
    assert changed.fingerprint != first.fingerprint and len(changed.examples) == 1


def test_a_file_changed_within_the_clock_tick_is_noticed(pairs: Path) -> None:
    path = pairs / "qqp/train.jsonl"
    os.utime(path)  # written just now
    before = load_examples(get_task("qqp"), "train", str(pairs)).fingerprint
    stat = path.stat()
    path.write_text(path.read_text().replace("train 7?", "train 8?"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_examples(get_task("qqp"), "train", str(pairs)).fingerprint != before


def test_a_file_changed_under_its_old_time_is_noticed(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `touch -r`, archives and synchronisation do: same size, same time of its content."""
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    path = pairs / "qqp/train.jsonl"
    before = load_examples(get_task("qqp"), "train", str(pairs)).fingerprint
    stat = path.stat()
    with path.open("r+") as file:
        content = file.read()
        file.seek(0)
        file.write(content.replace("train 7?", "train 8?"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_ino == stat.st_ino
    assert load_examples(get_task("qqp"), "train", str(pairs)).fingerprint != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "examples.arrow").write_bytes(b""),
        lambda folder: (folder / "examples.arrow").write_bytes(
            (folder / "examples.arrow").read_bytes().replace(b"train 77?", b"trAin 77?")
        ),
        lambda folder: (folder / "examples.arrow").unlink(),
        lambda folder: (folder / "examples.json").write_text("{"),
        lambda folder: (folder / "examples.json").write_text("[]"),
        lambda folder: (folder / "examples.json").unlink(),
    ],
)
def test_damaged_cache_is_made_again(
    pairs: Path, cache: Path, damage: Callable[[Path], None]
) -> None:
    first = load_examples(get_task("qqp"), "train", str(pairs))
    expected = first.examples.to_list()
    del first
    load_examples(get_task("qqp"), "train", str(pairs))
    (arrow,) = (cache / "examples").glob("*/examples.arrow")
    damage(arrow.parent)
    assert load_examples(get_task("qqp"), "train", str(pairs)).examples.to_list() == expected


def test_an_edited_task_is_read_again(pairs: Path) -> None:
    def shouting(row: Row) -> PairExample:
        return {"id": "", "text_a": row["question1"].upper(), "text_b": "", "label": 1}

    task = get_task("qqp")
    before = load_examples(task, "train", str(pairs))
    edited = load_examples(dataclasses.replace(task, to_example=shouting), "train", str(pairs))
    assert edited.examples[0]["text_a"] == "TRAIN 0?" != before.examples[0]["text_a"]
    assert edited.fingerprint != before.fingerprint


MARK = {"end": "?"}


def marked(text: str) -> str:
    return text + MARK["end"]


def test_an_edited_helper_of_a_task_is_noticed(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def example(row: Row) -> PairExample:
        return {"id": "", "text_a": marked(row["question1"]), "text_b": "", "label": 1}

    def first() -> tuple[str, str]:
        task = dataclasses.replace(get_task("qqp"), to_example=example)
        found = load_examples(task, "train", str(pairs))
        return found.examples[0]["text_a"], found.fingerprint

    before = first()
    monkeypatch.setitem(MARK, "end", "!")
    constant = first()
    monkeypatch.setattr(sys.modules[__name__], "marked", str.upper)
    helper = first()
    assert [text for text, _ in (before, constant, helper)] == [
        "train 0??",
        "train 0?!",
        "TRAIN 0?",
    ]
    assert len({fingerprint for _, fingerprint in (before, constant, helper)}) == 3


def test_equal_examples_have_one_fingerprint(pairs: Path) -> None:
    """Whatever code made them, and of whatever files."""

    def example(row: Row) -> PairExample | None:
        return get_task("qqp").to_example(dict(row))  # type: ignore[return-value]

    before = load_examples(get_task("qqp"), "train", str(pairs))
    path = pairs / "qqp/train.jsonl"
    path.write_text(path.read_text().replace('": ', '" :   '))
    task = dataclasses.replace(get_task("qqp"), to_example=example)
    again = load_examples(task, "train", str(pairs))
    assert again.fingerprint == before.fingerprint
    assert again.read_from != before.read_from
    other = dataclasses.replace(task, labels=("different", "same"))
    assert load_examples(other, "train", str(pairs)).fingerprint != before.fingerprint


def test_limit_draws_by_seed(pairs: Path) -> None:
    def draw(limit: int, seed: int = 0) -> tuple[list[str], str]:
        found = load_examples(get_task("qqp"), "train", str(pairs), limit=limit, seed=seed)
        return list(found.examples["id"]), found.fingerprint

    ids, fingerprint = draw(40)
    assert len(set(ids)) == 40 and ids != sorted(ids)
    assert draw(40) == (ids, fingerprint)
    assert draw(40, seed=1)[0] != ids
    assert len({fingerprint, draw(40, seed=1)[1], draw(41)[1], draw(2499)[1]}) == 4
    whole = load_examples(get_task("qqp"), "train", str(pairs))
    assert draw(2500) == draw(9999) == (list(whole.examples["id"]), whole.fingerprint)


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_must_be_positive(pairs: Path, limit: int) -> None:
    with pytest.raises(UserError, match=f"^limit {limit}: at least one example is needed$"):
        load_examples(get_task("qqp"), "train", str(pairs), limit=limit)


def test_seed_must_not_be_negative(pairs: Path) -> None:
    with pytest.raises(UserError, match=r"^seed -1: a seed is not negative$"):
        load_examples(get_task("qqp"), "train", str(pairs), limit=1, seed=-1)


def test_several_at_once_write_once(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write_once = cache_module._write

    def counted(folder: Path, *args: Any) -> Any:
        written.append(folder)
        return write_once(folder, *args)

    monkeypatch.setattr(cache_module, "_write", counted)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(load_examples, get_task("qqp"), "train", str(pairs)) for _ in "1234"]
        assert {len(call.result().examples) for call in calls} == {2500}
    assert len(written) == 1


def test_cache_that_cannot_be_written(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "file"))
    with pytest.raises(FailureError, match=r"^cannot write the cache .*set ADSTILTS_CACHE"):
        load_examples(get_task("qqp"), "train", str(pairs))


def test_full_disk(pairs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa, "OSFile", full)
    with pytest.raises(FailureError, match=re.escape("(No space left on device): free some")):
        load_examples(get_task("qqp"), "train", str(pairs))
    assert not list((cache / "examples").glob("*/"))


def test_status_of_a_folder(pairs: Path) -> None:
    status = data_status(get_task("qqp"), str(pairs))
    assert status.found
    assert status.detail == f"{pairs / 'qqp'}: train.jsonl, validation.jsonl"
