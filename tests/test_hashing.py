"""A function's digest changes with all that it uses, and with nothing else."""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapter_stilts.hashing import code_digest, package_digest, source_digest
from adapter_stilts.tasks.registry import get_task
from process_kit import in_a_process

TASK = """
import re
from helpers import names

SUFFIX = ("a", "b")
PATTERN = re.compile("x+")

class Maker:
    end = "."
    def make(self, text):
        return text + self.end

def helper(text):
    return Maker().make(text) + SUFFIX[0]

def to_example(row):
    def inner(text):
        return helper(PATTERN.sub("y", text))
    return {"text": inner(row["text"]), "label": names.LABELS.index(row["label"])}
"""
HELPERS = {"helpers/__init__.py": "", "helpers/names.py": "LABELS = ['no', 'yes']\nUNUSED = 1\n"}


def write_digest(folder: Path, written: Path, digest: Callable[..., str]) -> None:
    """Imports `task` from a folder and writes its function's digest."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    written.write_text(digest(importlib.import_module("task").to_example), "utf-8")


def digest_of(
    folder: Path, task: str = TASK, *, digest: Callable[..., str] = code_digest, **helpers: str
) -> str:
    """The digest that another process computes of the task's function."""
    written = {**HELPERS, "task.py": task}
    written |= {f"helpers/{name}.py": text for name, text in helpers.items()}
    for name, text in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert in_a_process(write_digest, folder, folder / "digest.txt", digest) == 0
    return (folder / "digest.txt").read_text("utf-8")


@pytest.mark.whole
def test_any_edit_changes_the_digest(tmp_path: Path) -> None:
    edits = [
        TASK.replace('"y"', '"z"'),
        TASK.replace("SUFFIX[0]", "SUFFIX[1]"),
        TASK.replace('("a", "b")', '("c", "b")'),
        TASK.replace('"x+"', '"x*"'),
        TASK.replace('end = "."', 'end = "!"'),
        TASK.replace("text + self.end", "self.end + text"),
        TASK.replace('compile("x+")', 'compile("x+", re.I)'),
    ]
    assert all(edit != TASK for edit in edits)
    found = [digest_of(tmp_path, edit) for edit in (TASK, *edits)]
    found.append(digest_of(tmp_path, names="LABELS = ['yes', 'no']\n"))
    assert len(set(found)) == len(found)


@pytest.mark.whole
def test_the_same_code_has_the_same_digest(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first = digest_of(tmp_path)
    assert digest_of(elsewhere) == first
    moved = "# A comment, and lines moved.\n\n" + TASK
    assert digest_of(tmp_path, moved) == first
    unused = "LABELS = ['no', 'yes']\nUNUSED = 2\n"
    assert digest_of(tmp_path, names=unused) == first


def closing(value: Any) -> Callable[[Any], Any]:
    return lambda row: (value, row)


@pytest.mark.parametrize(
    "make",
    [
        closing,
        lambda value: functools.partial(closing, value),
        lambda value: lambda row, end=value: (row, end),
        lambda value: eval(f"lambda row: {value!r}"),
        lambda value: closing(closing(value)),
        lambda value: closing({"deep": [{value}]}),
        lambda value: closing(re.compile(str(value) * 300)),
    ],
)
def test_what_a_function_holds_counts(make: Callable[[Any], Callable[[Any], Any]]) -> None:
    assert code_digest(make("one")) == code_digest(make("one")) != code_digest(make("two"))


def test_functions_that_call_each_other_come_to_an_end() -> None:
    module = ModuleType("circle")
    code = "def a(row):\n    return b(row)\ndef b(row):\n    return a(row), me.a\n"
    exec(code, vars(module))
    vars(module)["me"] = module
    assert code_digest(module.a) == code_digest(module.a) != code_digest(module.b)


def test_tasks_with_one_function_have_one_digest() -> None:
    squad, other = get_task("squad").to_example, get_task("qqp").to_example
    assert code_digest(squad) == code_digest(get_task("squad-v2").to_example)
    assert code_digest(squad) != code_digest(other)


def test_a_package_is_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/__init__.py").write_text("")
    (tmp_path / "made/part.py").write_text("A = 1\n")
    first = package_digest("made")
    assert package_digest("made") == first
    alone = package_digest("made.part")
    (tmp_path / "made/part.py").write_text("A = 2\n")
    assert package_digest("made") != first and package_digest("made.part") != alone


def source_digest_of(folder: Path, task: str) -> str:
    """The digest of what is written that another process computes."""
    return digest_of(folder, task, digest=source_digest)


def source_digest_without_asserts(folder: Path) -> str:
    """The same of what lies there, by a Python that leaves asserts and docstrings out."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import task; "
        "from adapter_stilts.hashing import source_digest as digest; "
        "print(digest(task.to_example), end='')"
    )
    command = [sys.executable, "-B", "-OO", "-c", program, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.whole
def test_what_is_written_counts_and_not_how_it_is_compiled(tmp_path: Path) -> None:
    task = TASK.replace(
        "def helper(text):", 'def helper(text):\n    "Says."\n    assert text, "none"'
    )
    first = source_digest_of(tmp_path, task)
    assert source_digest_without_asserts(tmp_path) == first
    other = task.replace('"Says."', '"Says so."  # a comment').replace(
        "text + self", "text  +  self"
    )
    assert source_digest_of(tmp_path, other) == first
    for edit in (("SUFFIX[0]", "SUFFIX[1]"), ("text + self.end", "self.end + text"), ("no", "yes")):
        assert source_digest_of(tmp_path, task.replace(*edit)) != first
