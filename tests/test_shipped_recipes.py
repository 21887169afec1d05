"""The commands for the zoo on XLM-R Large: each is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from adapter_stilts.cli import whole_command
from adapter_stilts.tasks.registry import get_target, intermediate_tasks
from adapter_stilts.training.recipe import get_recipe

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "adapters_zoo" / "recipes"
TEXT = "".join(path.read_text("utf-8") for path in sorted(RECIPES.glob("*.sh")))
COMMANDS = [
    shlex.split(re.sub(r"\$(\w+)", r"\1", line))[1:]
    for line in TEXT.splitlines()
    if line.startswith("adstilts ")
]


def of(command: str) -> list[list[str]]:
    return [given for given in COMMANDS if given[0] == command]


def option(given: list[str], name: str) -> str:
    return given[given.index(name) + 1] if name in given else ""


@pytest.mark.parametrize("given", COMMANDS, ids=" ".join)
def test_the_command_line_takes_it(given: list[str]) -> None:
    group = whole_command()
    with group.make_context("adstilts", list(given)) as context:
        command = group.commands[given[0]]
        command.make_context(given[0], list(given[1:]), parent=context)
    recipe = option(given, "--recipe")
    if recipe:
        get_recipe(str(ROOT / recipe))


def test_the_whole_zoo_is_made() -> None:
    nine = set(intermediate_tasks())
    trained = [(given[1], option(given, "--method")) for given in of("train-adapter")]
    assert sorted(trained) == sorted([(task, how) for task in nine for how in ("", "lora")])
    assert len(of("train-multitask")) == 1
    assert {option(given, "--target") for given in of("fuse")} == {"tydiqa", "xnli", "xcopa"}
    for given in of("fuse"):
        assert {each.rpartition("/")[2] for each in given[1:10]} == nine
    for given in (*of("train-target"), *of("evaluate")):
        get_target(given[1])
    assert all("xlm-roberta-large" in " ".join(given) for given in COMMANDS)


def test_what_is_used_and_pushed_was_made_before() -> None:
    made: set[str] = {"none"}
    for given in COMMANDS:
        used = [given[1]] if given[0] == "push" else []
        used += [value for flag, value in pairwise(given) if flag == "--with"]
        used += [option(given, "--on")] if given[0] == "train-target" else []
        used += given[1:10] if given[0] == "fuse" else []
        assert {each.rpartition("/")[2] for each in used} <= made, given
        if given[0] == "train-adapter":
            made.add(given[1] + ("-lora" if option(given, "--method") == "lora" else ""))
        elif given[0] == "train-multitask":
            made.add("multitask")
        else:
            made.add(Path(option(given, "--out")).name)
