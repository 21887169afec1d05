"""What a person mistypes or forgets: one line that names the place and the way out."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts.data.parts import find_parts, samples_folder
from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_writable
from adapter_stilts.tasks.registry import get_target
from cli_kit import Result, assert_one_line

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train-adapter", "squad", "--methd", "lora"), ("No such option: --methd", "--method")),
        (("train-adaptr", "squad"), ("No such command 'train-adaptr'", "train-adapter")),
        (("train-adapter",), ("no task is named", "`adstilts tasks`", "--task")),
        (
            ("zoo", "shwo"),
            ("No such command 'shwo'. Did you mean `adstilts zoo show`?", "`adstilts zoo --help`"),
        ),
        (("zoo", "pull", "a/b"), ("No such command 'pull'", "Did you mean `adstilts pull`?")),
        (("list",), ("No such command 'list'", "Did you mean `adstilts zoo list`?")),
        (("new",), ("`adstilts task new` or `adstilts study new`?",)),
        (("study", "verfy"), ("Did you mean `adstilts zoo verify`?", "`adstilts study --help`")),
        (("task", "predict"), ("Did you mean `adstilts predict`?",)),
        (("push", "squad"), ("Missing option '--to'", "see `adstilts push --help`")),
        (("train-adapter", "squad", "--seed", "abc"), ("'--seed'", "integer")),
    ],
)
def test_a_mistyped_command_gets_one_line(
    run: Run, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert_one_line(result, 2, *words)
    assert len(result[2].splitlines()) == 1


@pytest.mark.parametrize("arguments", [(), ("zoo",)])
def test_no_command_shows_the_help(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert "Usage: adstilts" in out + err and "adstilts:" not in err


def test_help_is_no_mistake(run: Run) -> None:
    code, out, err = run("predict", "--help")
    assert code == 0 and "--question" in out and not err


@pytest.mark.parametrize("command", [("train-adapter", "squad"), ("train-target", "xnli")])
def test_a_wrong_data_path_is_told_before_what_lies_in_the_way(
    run: Run, command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "mine.unfinished" / "checkpoint-3").mkdir(parents=True)
    out = ("--backbone", "embedded", "--out", str(tmp_path / "mine"))
    assert_one_line(run(*command, *out, "--data", "nowhere"), 2, "'nowhere' is not there")
    assert_one_line(run(*command, *out, "--data", "sample"), 2, "unfinished run", "--resume")


@pytest.mark.parametrize("command", [("tasks",), ("zoo", "verify", "--scores")])
def test_data_that_is_not_there_is_refused(run: Run, command: tuple[str, ...]) -> None:
    words = "data folder 'nowhere' is not there"
    assert_one_line(run(*command, "--data", "nowhere"), 2, words, "'sample' or a folder")


def test_a_question_without_an_answer(
    run: Run, made_zoo: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made_zoo, zoo)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert_one_line(run("zoo", "remove", "qa"), 2, "nothing was done", "--yes")
    assert (zoo / "tiny" / "qa" / "module.json").is_file()


def test_ctrl_c_at_a_question(
    run: Run, made_zoo: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no answer, and no mistake either."""

    class Interrupted:
        def readline(self, size: int = -1) -> str:
            raise KeyboardInterrupt

    shutil.copytree(made_zoo, zoo)
    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert_one_line(run("zoo", "remove", "qa"), 130, "interrupted")
    assert (zoo / "tiny" / "qa" / "module.json").is_file()


def test_a_module_of_the_hub_that_was_not_pulled(run: Run) -> None:
    for command in ("show", "verify", "remove"):
        result = run("zoo", command, "someone/xlmr-squad")
        words = "no module 'someone/xlmr-squad' is here", "`adstilts pull someone/xlmr-squad`"
        assert_one_line(result, 2, *words)


def test_a_missing_map_says_what_it_holds(run: Run, tmp_path: Path) -> None:
    suite = ("evaluate", "--suite", "xtreme", "--with-map")
    assert_one_line(run(*suite, "no.yaml"), 2, "no.yaml is not there", "'tydiqa: stack(squad,")
    given = tmp_path / "runs.yaml"
    given.write_text("tydiqa: nothing\n")
    assert_one_line(run(*suite, str(given)), 2, "tydiqa: no module 'nothing'")
    given.write_bytes(b"tydiqa: \xff\n")
    assert_one_line(run(*suite, str(given)), 2, "runs.yaml: cannot be read (not UTF-8 text)")
    assert_one_line(run(*suite, str(tmp_path)), 2, f"{tmp_path}: cannot be read (Is a directory)")


def test_a_broken_recipe_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("lr: 1.0e-3\nepochs: [3\n")
    result = run("train-adapter", "squad", "--data", "sample", "--recipe", str(recipe))
    assert_one_line(result, 2, "mine.yaml, line 3: not valid YAML: expected ',' or ']'")


@pytest.mark.parametrize("below", ["", "module"])
def test_out_that_is_a_file_is_refused_before_the_work(
    run: Run, tiny_xlmr: Path, made_zoo: Path, zoo: Path, tmp_path: Path, below: str
) -> None:
    shutil.copytree(made_zoo, zoo)
    file = tmp_path / "file"
    file.write_text("mine")
    out = ("--out", str(file / below))
    train = ("train-adapter", "squad", "--backbone", str(tiny_xlmr), "--data", "sample")
    for command in (
        train,
        ("merge", "qa-all", "pos"),
        ("zoo", "export", "qa"),
        ("explain", "qa"),
    ):
        assert_one_line(run(*command, *out), 2, f"{file} is a file", "choose another --out")
    assert file.read_text() == "mine"


def test_out_in_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def access(path: Path, mode: int) -> bool:
        return path != tmp_path

    check_writable(tmp_path / "a" / "b")
    monkeypatch.setattr(os, "access", access)  # root may write everywhere
    with pytest.raises(UserError, match=f"{tmp_path} is read-only for you: choose another --out"):
        check_writable(tmp_path / "a" / "b")


def test_a_file_that_the_system_refuses(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> dict[str, str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/a/folder")

    monkeypatch.setattr("adapter_stilts.environment.diagnose", refused)
    assert_one_line(run("doctor"), 1, "/a/folder: Permission denied", "choose another folder")


def test_samples_without_a_language_say_so() -> None:
    with pytest.raises(UserError, match=r"among the bundled samples: use --data hub, or"):
        find_parts(get_target("tydiqa").at("ko"), "test", samples_folder())
