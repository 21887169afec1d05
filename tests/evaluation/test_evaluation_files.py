"""The folder of predictions: claimed, refused, continued, never half written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.evaluation import files
from adapter_stilts.evaluation.files import (
    RECORD,
    LanguageResult,
    Store,
    format_predictions,
    slug,
    suffix,
    write_whole,
)
from adapter_stilts.tasks.registry import target_tasks
from evaluation_kit import TARGETS

NLI, COPA, POS, QA = TARGETS
ABOUT: dict[str, Any] = {"data": "d1", "settings": {"limit": None}, "examples": 2}


def store(folder: Path, identity: str = "aa", **changes: Any) -> Store:
    fields: dict[str, Any] = {
        "expression": identity,
        "identity": identity,
        "backbone": {"name": "tiny", "fingerprint": "f" * 16},
    }
    return Store(folder, **{**fields, **changes})


def opened(folder: Path, identity: str = "aa", *, overwrite: bool = False, **more: Any) -> Store:
    made = store(folder, identity, **more)
    made.check(overwrite=overwrite)
    return made


def result(*lines: str) -> LanguageResult:
    return LanguageResult({"accuracy": 50.0}, list(lines), True, 1.25)


def done(made: Store, language: str, data: str = "d1", **settings: Any) -> bool:
    wanted = settings or ABOUT["settings"]
    return made.finished_entry(NLI.name, "test", language, data, wanted) is not None


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    first = opened(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not done(first, "en")
    entry = first.save(NLI, "test", "en", result("neutral", "entailment"), ABOUT)
    assert (tmp_path / "out/nli/test-en.tsv").read_text() == "neutral\nentailment\n"
    assert entry["seconds"] == 1.25
    again = opened(tmp_path / "out")
    assert done(again, "en")
    assert again.entry(NLI.name, "test", "en") == entry
    assert not done(again, "de")
    assert not done(again, "en", data="d2")
    assert not done(again, "en", limit=5)
    (tmp_path / "out/nli/test-en.tsv").write_text("neutral\n")
    assert not done(again, "en")
    (tmp_path / "out/nli/test-en.tsv").unlink()
    assert not done(again, "en")


def test_two_processes_write_into_one_folder(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)  # both find it empty
    one.save(NLI, "test", "en", result("neutral"), ABOUT)
    two.save(POS, "dev", "ko", result("N", ""), ABOUT)
    one.save(NLI, "test", "de", result("neutral"), ABOUT)
    results = json.loads((tmp_path / RECORD).read_text())["results"]
    assert {name: list(found) for name, found in results.items()} == {
        "tiny-nli": ["test"],
        "tiny-pos": ["dev"],
    }
    assert list(results["tiny-nli"]["test"]) == ["en", "de"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"identity": "bb"}, "the predictions of 'aa' lie in"),
        ({"identity": "bb", "expression": "aa"}, "of 'aa', trained otherwise"),
        ({"backbone": {"name": "tiny", "fingerprint": "0" * 16}}, "or on another backbone"),
    ],
)
def test_another_compositions_folder_is_refused_and_replaced_only_if_told(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    opened(tmp_path).save(NLI, "test", "en", result("neutral"), ABOUT)
    (tmp_path / "nli/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=words) as raised:
        store(tmp_path, **changes).check(overwrite=False)
    assert "--out" in str(raised.value)
    assert "--overwrite" in str(raised.value)
    new = store(tmp_path, **changes)
    new.check(overwrite=True)
    assert not done(new, "en")
    assert (tmp_path / "nli/test-en.tsv").exists()  # until there is something in its place
    new.save(NLI, "test", "de", result("neutral"), ABOUT)
    assert not (tmp_path / "nli/test-en.tsv").exists()
    assert (tmp_path / "nli/notes.txt").read_text() == "mine"
    assert list(json.loads((tmp_path / RECORD).read_text())["results"]["tiny-nli"]["test"]) == [
        "de"
    ]


def test_other_peoples_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="is not empty: choose another --out"):
        opened(tmp_path)
    with pytest.raises(UserError, match=r"thesis\.tex is a file"):
        opened(tmp_path / "thesis.tex", overwrite=True)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 1}',
        '{"composition": 3, "backbone": {}, "results": {}}',
        '{"format": 1, "composition": {"expression": "a", "identity": "b"}, "backbone": {}, '
        '"sessions": [], "results": {"nli": {"test": 3}}}',
    ],
)
def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(UserError, match=r"evaluation\.json is damaged: .*--overwrite"):
        opened(tmp_path)
    made = opened(tmp_path, overwrite=True)
    made.save(NLI, "test", "en", result("neutral"), ABOUT)
    assert done(opened(tmp_path), "en")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).save(NLI, "test", "en", result("neutral"), ABOUT)
    record = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps({**record, "format": 9}))
    with pytest.raises(UserError, match="written in format 9, this version reads 1"):
        opened(tmp_path)


def test_overwriting_removes_nothing_outside_the_folder(tmp_path: Path) -> None:
    opened(tmp_path / "out").save(NLI, "test", "en", result("neutral"), ABOUT)
    path = tmp_path / "out" / RECORD
    record = json.loads(path.read_text())
    entries = record["results"]["tiny-nli"]["test"]
    (tmp_path / "precious").write_text("")
    entries["de"] = {**entries["en"], "file": "../precious"}
    entries["ko"] = {**entries["en"], "file": str(tmp_path / "precious")}
    path.write_text(json.dumps(record))
    opened(tmp_path / "out", "bb", overwrite=True).save(NLI, "test", "en", result("x"), ABOUT)
    assert (tmp_path / "precious").exists()


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(tmp_path)
    made.save(NLI, "test", "en", result("neutral"), ABOUT)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(FailureError, match="No space left"):
        patch.setattr(Path, "replace", full)
        made.save(NLI, "test", "en", result("entailment"), ABOUT)
    assert done(opened(tmp_path), "en")
    assert {path.name for path in (tmp_path / "nli").iterdir()} == {"test-en.tsv"}


def test_interrupted_between_file_and_record_the_language_is_done_again(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.save(NLI, "test", "en", result("neutral"), ABOUT)
    write_whole(tmp_path / "nli/test-en.tsv", "entailment\n")
    assert not done(opened(tmp_path), "en")


def test_prediction_files_are_named_as_xtreme_expects(tmp_path: Path) -> None:
    endings = {name: suffix(target) for name, target in target_tasks().items()}
    assert endings == {
        **dict.fromkeys(("xnli", "pawsx", "udpos", "panx", "bucc2018", "tatoeba"), "tsv"),
        **dict.fromkeys(("xquad", "mlqa", "tydiqa", "mewslix", "lareqa", "qa-checks"), "json"),
        "xcopa": "jsonl",
    }
    folders = {files.folder_name(target) for target in target_tasks().values()}
    assert folders == set(endings)


def test_contents() -> None:
    assert format_predictions(NLI, result("neutral", "entailment")) == "neutral\nentailment\n"
    assert format_predictions(POS, result("N", "NP", "", "N", "")) == "N\nNP\n\nN\n\n"
    assert format_predictions(COPA, result('{"label": 1}')) == '{"label": 1}\n'
    text = format_predictions(QA, result('"a": "é \\"x\\""', '"b": ""'))
    assert json.loads(text) == {"a": 'é "x"', "b": ""}
    assert json.loads(format_predictions(QA, result())) == {}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("squad", "squad"),
        ("stack(squad, tydiqa)", "stack-squad-tydiqa"),
        ("stack(fuse(a, b_2), c.d)", "stack-fuse-a-b_2-c.d"),
        ("../../etc/passwd", "etc-passwd"),
        ('"my zoo/squad (2)"', "my-zoo-squad-2"),
        ("()", "composition"),
    ],
)
def test_slug(expression: str, expected: str) -> None:
    assert slug(expression) == expected
