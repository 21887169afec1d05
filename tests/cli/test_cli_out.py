"""`--out` that cannot be: one line before the work begins, of every command that writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.paths import check_replaceable, check_writable
from cli_kit import Result, assert_one_line

Run = Callable[..., Result]
WRITING = {
    "train-adapter": ("train-adapter", "squad", "--data", "sample", "--backbone", "TINY"),
    "train-multitask": (
        *("train-multitask", "--tasks", "squad,mnli", "--data", "sample"),
        *("--backbone", "TINY"),
    ),
    "train-language": ("train-language", "sw", "--text", "TEXT", "--backbone", "TINY"),
    "train-target": ("train-target", "xnli", "--data", "sample", "--backbone", "TINY"),
    "merge": ("merge", "qa-all", "pos"),
    "evaluate": ("evaluate", "tydiqa", "--with", "qa", "--langs", "ko", "--data", "sample"),
    "explain": ("explain", "qa"),
    "export": ("zoo", "export", "qa"),
}
OUTS = {
    "long": ("x" * 300, "too long"),
    "long after a suffix": ("x" * 250, "too long"),
    "deep": ("/".join(["deep"] * 1000), "too long"),
    "NUL": ("a\0b", "null byte"),
    "below /proc": ("/proc/module", "/proc"),
    "in /sys": ("/sys/module-of-mine/module", "/sys"),
    "a file": ("FILE", "is a file"),
    "below a file": ("FILE/module", "is a file"),
    "not UTF-8": ("\udcff", "not UTF-8"),
}


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("command", WRITING)
def test_an_out_that_cannot_be(
    run: Run,
    tiny_xlmr: Path,
    made_zoo: Path,
    zoo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    out: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made_zoo, zoo)
    for name in ("FILE", "TEXT"):
        (tmp_path / name).write_text("mine\n")
    words = [str(tiny_xlmr) if word == "TINY" else word for word in WRITING[command]]
    given, expected = OUTS[out]
    result = run(*words, "--out", given)
    assert_one_line(result, 2, expected)
    assert (tmp_path / "FILE").read_text() == "mine\n"


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_a_module_needs_a_folder_of_its_own(run: Run, tiny_xlmr: Path, out: str) -> None:
    command = ("train-adapter", "squad", "--data", "sample", "--backbone", str(tiny_xlmr))
    assert_one_line(run(*command, "--out", out), 2, "name the folder itself")


def test_a_folder_in_which_nothing_can_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder is replaced, so the one above it counts, too."""
    (tmp_path / "read-only" / "empty").mkdir(parents=True)
    access = os.access

    def refused(path: Path, mode: int) -> bool:
        return Path(path) != tmp_path / "read-only" and access(path, mode)

    monkeypatch.setattr(os, "access", refused)  # root may write everywhere
    check_writable(tmp_path / "read-only" / "empty")
    for name in ("empty", "new", "new/deeper"):
        with pytest.raises(UserError, match="read-only is read-only for you"):
            check_replaceable(tmp_path / "read-only" / name)


def test_a_name_with_nul_in_python(tmp_path: Path) -> None:
    for check in (check_replaceable, check_writable):
        with pytest.raises(UserError, match="NUL"):
            check(tmp_path / "a\0b")


def test_pull_looks_at_out_before_it_asks_the_hub(run: Run) -> None:
    assert_one_line(run("pull", "someone/xlmr-squad", "--out", "/proc/module"), 2, "/proc")


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_names_that_are_long_but_possible(tmp_path: Path) -> None:
    check_replaceable(tmp_path / ("x" * 200))
