"""What strangers may call a file, write into JSON, and have shown."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adapter_stilts
from adapter_stilts.errors import UserError
from adapter_stilts.safety import (
    MAX_JSON,
    is_name,
    is_number,
    is_plain_path,
    parse_json,
    printable,
    read_json,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Ärger 中文", "plain Ärger 中文"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x9b2J", "a\\x9b2J"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\rb\x00\x07\x7f", "a\\rb\\x00\\x07\\x7f"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\ud800", "\\ud800"),
        ("می‌خواهم", "می‌خواهم"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert not any(0x7F <= ord(char) < 0xA0 for char in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "name", ["a.json", "peft/adapter_model.safetensors", "heads/squad-v2/x.json", "_a+b=c.md"]
)
def test_plain_paths(name: str) -> None:
    assert is_plain_path(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/../b",
        "/a",
        "a//b",
        "a/",
        "C:/a",
        "C:a",
        "a\\b",
        "..\\a",
        ".hidden",
        "a/.git/x",
        "con",
        "NUL.json",
        "peft/com1.txt",
        "a.",
        "a b",
        "a\x00b",
        "~",
        "ä",
        "a" * 300,
    ],
)
def test_paths_that_are_not_plain(name: str) -> None:
    assert not is_plain_path(name)


@given(st.text(max_size=30))
def test_a_plain_path_stays_inside(name: str) -> None:
    if is_plain_path(name):
        assert os.path.normpath(os.path.join("/zoo", name)).startswith("/zoo/")  # noqa: PTH118
        assert os.path.normpath(name) == name


def test_names() -> None:
    assert all(map(is_name, ["squad", "lang:sw", "mnli-lora", "a b"]))
    assert not any(map(is_name, ["", " a", "a/b", "a\\b", "..", "a\n", "\x1b", "a" * 300]))


def test_numbers() -> None:
    assert all(map(is_number, [0, -1, 2.5, 10**300]))
    assert not any(map(is_number, [True, None, "1", 10**400, float("nan"), float("inf"), []]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        '{"a": Infinity}',
        "[" * 100_000,
        "[" * 500 + "]" * 500,
        '{"a":' * 200 + "1" + "}" * 200,
        "9" * 100_000,
        '"\\ud800"',
    ],
)
def test_no_json(text: str) -> None:
    with pytest.raises(UserError, match="file: not readable as JSON") as caught:
        parse_json("file", text)
    assert len(str(caught.value)) < 250


def test_files_that_are_not_read(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    large.write_bytes(b" " * (MAX_JSON + 1))
    with pytest.raises(UserError, match="larger than 4 MB"):
        read_json(large)
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(UserError, match="not a file"):
            read_json(path)
    with pytest.raises(UserError, match="not readable as JSON"):
        read_json(tmp_path / "nowhere")


SHOWN = "json.dumps(value, ensure_ascii=False)"
"""It is encoded to see whether it can be, and written nowhere."""


def test_no_json_of_ours_can_hold_nan() -> None:
    """Python writes `NaN` and `Infinity`, which no other reader takes, unless it is told not to."""
    calls = [
        (path, node)
        for path in sorted(Path(adapter_stilts.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump")
    ]
    assert len(calls) > 30
    for path, call in calls:
        if path.name == "safety.py" and ast.unparse(call) == SHOWN:
            continue
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert options.get("allow_nan") == "False", f"{path}:{call.lineno}"
