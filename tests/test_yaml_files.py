"""YAML as people write it: what is read, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter_stilts.data.squad_formats import check_rows
from adapter_stilts.errors import UserError
from adapter_stilts.own.build import load_task_file
from adapter_stilts.yaml_files import parse_yaml, write_yaml
from own_kit import examples, task_file

TEXTS = (
    "no",
    "yes",
    "on",
    "Off",
    "y",
    "1:30",
    "1_000",
    "0b11",
    "2026-01-31",
    "2026-02-30",
    "<<",
    "=",
)
"""YAML 1.1 reads these as true, 90, 1000, 3, a date and so on, and YAML 1.2 as they are written."""


def read(written: str) -> Any:
    return parse_yaml(f"first: x\nkey:\n  {written}\n", "key: value", "some.yaml")[0]["key"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stays_what_is_written(text: str) -> None:
    assert read(text) == text
    assert read(f"[{text}, de]") == [text, "de"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("10", 10),
        ("-3", -3), ("1e-3", 1e-3), (".5e3", 500.0), ("1.", 1.0), ("-.inf", float("-inf")),
        ("'010'", "010"), ("!!str no", "no"), ("!!float 5", 5.0),
    ],
)  # fmt: skip
def test_what_is_no_text(written: str, value: Any) -> None:
    found = read(written)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("010", "write 10"),
        ("0o17", "write 15"),
        ("0x1F", "write 31"),
        ("+5", "write 5"),
        ("-0", "write 0"),
        ("9" * 5000, "in quotes"),
        ("!!int 010", "write 10"),
        ("!!int [1]", "no int"),
        ("!!bool yes", "no bool"),
        ("!!timestamp 2026-01-31", "timestamp"),
        ("!!binary aGk=", "binary"),
        ("!!set {a}", "set"),
        ("!!python/object:os.system x", "python"),
        ("{[a]: 1}", "a key is one text"),
        ("a:\tb", "\\t"),
        ("[&a x, *a]", "aliases"),
    ],
)
def test_what_can_be_read_in_several_ways_is_refused(written: str, word: str) -> None:
    with pytest.raises(UserError, match=r"^some\.yaml, line 3: ") as caught:
        read(written)
    assert word in str(caught.value) and "\n" not in str(caught.value)


def test_keys_are_texts() -> None:
    found = parse_yaml("{1: a, no: b, null: c, <<: {d: e}}", "key: value", "some.yaml")[0]
    assert found == {"1": "a", "no": "b", "null": "c", "<<": {"d": "e"}}


@pytest.mark.parametrize("value", [*TEXTS, "010", "1e-3", "0o17", "+1", "~", 1e-5, 5, True, None])
def test_what_is_written_is_read_by_both_versions(value: Any) -> None:
    text = write_yaml({"key": [value]})
    assert parse_yaml(text, "key: value", "some.yaml")[0] == {"key": [value]}
    assert yaml.safe_load(text) == {"key": [value]}


def test_norwegian_and_a_label_no(tmp_path: Path) -> None:
    lines = ("labels: [yes, no]", "languages: [no]")
    path = task_file(tmp_path, "a.csv", "text,label\nfine,yes\nbad,no\n", *lines)
    assert load_task_file(path).task.labels == ("yes", "no")
    assert [row["label"] for row in examples(path)] == [0, 1]
    assert load_task_file(path).target.languages == ("no",)


def test_lists_of_checks_are_read_alike() -> None:
    text = """lists: {word: [no, 1:30, on]}
checks:
  first: {context: "{word1} {word2}", question: "{word1}?", answers: ["{word1}"]}
"""
    rows = list(check_rows(Path("no.yaml"), enumerate(text.splitlines(keepends=True), 1)))
    assert {word for _, row in rows for word in row["context"].split()} == {"no", "1:30", "on"}
    with pytest.raises(UserError, match=r"no\.yaml, line 1: aliases"):
        list(check_rows(Path("no.yaml"), [(1, "lists: {a: &a [b, c], d: *a}\n")]))
