"""The page on the tasks' files says what the declarations say, and is true of the samples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from adapter_stilts.cli import app
from adapter_stilts.data.status import FORMATS, layouts
from adapter_stilts.tasks.registry import find_either, intermediate_tasks, target_tasks
from adapter_stilts.tasks.spec import FileFormat
from study_kit import benchmark

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
EVERY = [*intermediate_tasks(), *target_tasks()]


def test_the_page_is_up_to_date() -> None:
    again = "python benchmarks/tasks_page.py > docs/tasks.md"
    assert PAGE.read_text("utf-8") == benchmark("tasks_page").tasks_page(), again


def test_every_format_is_described() -> None:
    assert set(FORMATS) == set(get_args(FileFormat))


@pytest.mark.parametrize("name", EVERY)
def test_every_task_has_a_section_with_its_files(name: str) -> None:
    section = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    (own,) = [each for each in section if each.startswith(f"{name}\n")]
    task = find_either(name)
    for layout in layouts(task):
        for names in layout.files.values():
            assert all(f"`{each}`" in own for each in names)


def test_columns_are_those_that_are_read() -> None:
    found = {each.form: each.columns for each in layouts(find_either("qqp"))}
    assert set(found["JSON Lines"].needed) == {"question1", "question2", "label"}
    assert set(found["TSV with a header"].needed) == {"question1", "question2", "is_duplicate"}
    assert found["JSON Lines"].optional == ("id",)


def test_columns_of_every_table_are_known() -> None:
    """A layout with named columns names some: the samples reach the code that reads them."""
    for name in EVERY:
        for layout in layouts(find_either(name)):
            if layout.hub or layout.form in ("JSON Lines", "TSV with a header"):
                assert layout.columns.needed, (name, layout)


def show(*arguments: str) -> Any:
    """What `adstilts tasks` prints as JSON."""
    result = CliRunner().invoke(app, ["tasks", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_the_command_shows_files_and_columns() -> None:
    (task,) = show("xnli", "--data", "sample")
    training = [each for each in task["files"] if each["for"] == "training"]
    assert any("train-{lang}.tsv" in each["files"] for each in training)
    assert any("gold_label" in each["columns"] for each in training)


def test_the_command_shows_those_of_a_task_file() -> None:
    (task,) = show(str(PAGE.parents[1] / "examples" / "own_csv" / "reviews.yaml"))
    assert {each["columns"] for each in task["files"]} == {"review, verdict"}
