"""Small task files with their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.data.load import load_examples
from adapter_stilts.errors import UserError
from adapter_stilts.own.build import load_task_file
from adapter_stilts.tasks.spec import Split

PAIR = "classification"
ROWS = 'text,label\nfine,yes\n"bad, really",no\n'
JSON = '{"t": "fine", "label": "yes"}\n{"t": "bad, really", "label": "no"}\n'
CONLL = """-DOCSTART- -X- -X- O

Anna NNP B-NP S-PER
runs VBZ B-VP O

in IN B-PP O
Ulm NNP B-NP S-LOC
"""


def task_file(
    folder: Path, name: str, data: bytes | str, *lines: str, head: str = "classification"
) -> Path:
    """A task file over one file of data, which stands for all of its splits."""
    content = data.encode() if isinstance(data, str) else data
    (folder / name).write_bytes(content)
    path = folder / "mine.yaml"
    files = f"files: {{train: {name}, dev: {name}, test: {name}}}"
    path.write_text("\n".join(["name: mine", f"head: {head}", files, *lines, ""]), "utf-8")
    return path


def examples(path: Path, split: Split = "train") -> list[dict[str, Any]]:
    """What is read of one split."""
    found: list[dict[str, Any]] = load_examples(load_task_file(path).task, split).examples.to_list()
    return found


Case = tuple[str, bytes | str, tuple[str, ...], str, tuple[str, ...]]
"""A file's name and data, lines of the task file, the head, and the words of the complaint."""


def assert_refused(folder: Path, case: Case) -> None:
    """Checks that such a task file ends in one line with these words."""
    name, data, lines, head, words = case
    path = task_file(folder, name, data, *lines, head=head)
    with pytest.raises(UserError) as caught:
        examples(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
