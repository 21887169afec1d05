"""`adstilts train-language`, and what it says where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_kit import Result, assert_one_line

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADSTILTS_CACHE", str(tmp_path / "cache"))


def test_it_trains_and_prints_the_record(run: Run, tiny_xlmr: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"the old town is number {n}\n" for n in range(30)))
    given = ("--backbone", str(tiny_xlmr), "--precision", "fp32", "--epochs", "1", "--json")
    code, out, _ = run("train-language", "sw", "--text", str(text), *given)
    assert code == 0
    about = json.loads(out)
    assert Path(about["path"]).name == "lang-sw"
    assert 0 <= about["scores"]["accuracy"] <= 100
    code, out, _ = run("zoo", "list", "--json")
    assert code == 0
    assert '"lang-sw"' in out


@pytest.mark.parametrize(
    ("content", "language", "words"),
    [
        (None, "sw", ("text.txt", "is not there")),
        (b"", "sw", ("text.txt has no text",)),
        (b" \n\n\t\n", "sw", ("text.txt has no text",)),
        (b"one line\none line\n", "sw", ("has one line",)),
        (b"fine\nfine, too\n\xff\xfe\n", "sw", ("text.txt, line 3", "not UTF-8")),
        (b"a\nb\nc\n", "sw", ("has two tokens",)),
        (b"some words\nand others\n", "swahili", ("no language 'swahili'",)),
        (b"some words\nand others\n", "xx", ("no language 'xx'",)),
    ],
)
def test_a_mistake_gets_one_line(
    run: Run,
    tiny_xlmr: Path,
    tmp_path: Path,
    content: bytes | None,
    language: str,
    words: tuple[str, ...],
) -> None:
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    found = run("train-language", language, "--text", str(text), "--backbone", str(tiny_xlmr))
    assert_one_line(found, 2, *words)


def test_a_folder_without_text_is_named(run: Run, tiny_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = ("--text", str(tmp_path / "empty"), "--backbone", str(tiny_xlmr))
    assert_one_line(run("train-language", "sw", *given), 2, "has no .txt file")


def test_there_is_no_data_option(run: Run, tmp_path: Path) -> None:
    code, _, error = run("train-language", "sw", "--text", str(tmp_path), "--data", "hub")
    assert code == 2
    assert "--data" in error
