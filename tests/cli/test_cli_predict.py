"""`adstilts predict` over streams of inputs, and `adstilts serve` where it cannot begin."""

from __future__ import annotations

import io
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts import load
from adapter_stilts.zoo.predict import answers_to_lines
from cli_kit import Result, assert_one_line

Run = Callable[..., Result]
ROWS = [
    {"id": "a", "question": "Who went?", "context": "Ann went to Rome. " * number, "lang": "de"}
    for number in (3, 9, 1)
]


@pytest.fixture
def ask(
    run: Run, made_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, bytes], Result]:
    """`predict --with MODULE --file - --json` over that standard input."""
    monkeypatch.setenv("ADSTILTS_ZOO", str(made_zoo))

    def call(module: str, given: bytes, *more: str) -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        return run("predict", "--with", module, "--file", "-", "--json", *more)

    return call


def lines(*rows: Any) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def test_answers_come_in_the_order_of_the_lines(ask: Any) -> None:
    code, out, err = ask("qa-all", b"\xef\xbb\xbf" + lines(*ROWS) + b"\n" + lines(ROWS[0])[:-1])
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [(row["id"], row["lang"]) for row in found] == [("a", "de")] * 4
    module = load("qa-all")
    for row, said in zip([*ROWS, ROWS[0]], found, strict=True):
        alone = module.answer(str(row["question"]), str(row["context"]))
        assert said["score"] == pytest.approx(alone["score"], abs=0.1)  # bf16 in other batches


def test_other_names_of_fields(ask: Any) -> None:
    pair = {"premise": "It rains.", "hypothesis": "It is wet.", "label": "ignored"}
    code, out, _ = ask("nli", lines(pair), "--lang", "sw")
    assert code == 0
    assert json.loads(out)["lang"] == "sw"
    code, out, _ = ask("copa", lines({"prompt": "a", "choices": list("abcd")}))
    assert json.loads(out)["option"] in "abcd"
    rows = [{"tokens": ["東京", "駅"]}, {"text": "東京 駅", "lang": "ja"}, {"text": "東京 駅"}]
    code, out, _ = ask("pos", lines(*rows))
    counts = [len(json.loads(line)["tags"]) for line in out.splitlines()]
    assert (code, counts) == (0, [2, 3, 2])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"question": "a"', ("line 2", "broken JSON")),
        (b"[1]", ("line 2", "JSON object")),
        (b'{"question": "a"}', ("line 2", "'context' is missing")),
        (b'{"question": 1, "context": "b"}', ("line 2", "'question' must be a text")),
        (b'{"question": "a", "context": "b", "lang": "xx"}', ("line 2", "no language 'xx'")),
        (b'{"question": "\\ud800", "context": "b"}', ("line 2", "surrogate")),
        (b'{"question": "\xff"}', ("line 2", "not UTF-8: byte 0xff")),
        (b"[" * 100_000, ("line 2", "nested too deeply")),
        (b'"' + b"a" * (5 << 20), ("line 2", "longer than 4 MB")),
    ],
)
def test_a_bad_line_is_named_after_the_answers_before_it(
    ask: Any, line: bytes, words: tuple[str, ...]
) -> None:
    result = ask("qa-all", lines(ROWS[0]) + line + b"\n" + lines(ROWS[1]))
    assert_one_line(result, 2, "standard input", *words)
    assert len(result[1].splitlines()) == 1


def test_nothing_in_nothing_out(ask: Any, run: Run, tmp_path: Path) -> None:
    assert ask("qa-all", b"")[:2] == (0, "")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert_one_line(run("predict", "--with", "nli", "--file", str(empty)), 2, "empty")
    gone = run("predict", "--with", "nli", "--file", str(tmp_path / "gone"))
    table = run("predict", "--with", "nli", "--file", str(tmp_path / "rows.csv"))
    assert_one_line(table, 2, "rows.csv", "JSON Lines were expected")
    assert_one_line(gone, 2, "gone", "cannot be read")
    assert_one_line(run("predict", "--with", "nli", "--words", "a", "--lang", "zz"), 2, "'zz'")


def test_answers_do_not_wait_for_the_end_of_the_input(
    made_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO", str(made_zoo))

    class Slow:
        """Input of which a line and a half is there at a time."""

        def __init__(self) -> None:
            text = lines(*ROWS)
            middle = text.index(b"\n") + 20
            self.parts = [text[:middle], text[middle:], b""]

        def read1(self, size: int) -> bytes:
            return self.parts.pop(0)

    slow: Any = Slow()
    found = answers_to_lines(load("qa-all"), slow, Path("standard input"))
    next(found)
    assert len(slow.parts) == 2
    assert len(list(found)) == 2


def test_memory_does_not_grow_with_the_input(
    made_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_ZOO", str(made_zoo))
    module = load("nli")
    held: list[int] = []
    predict = module.predict_rows

    class Watched:
        """The module, which counts how many inputs it is given at a time."""

        record, kind, choices = module.record, module.kind, module.choices

        def predict_rows(self, rows: Any) -> Any:
            held.append(len(rows))
            return [{"labels": {}}] * len(rows)

    row = lines({"text_a": "x" * 1000})
    watched: Any = Watched()
    count = sum(1 for _ in answers_to_lines(watched, io.BytesIO(row * 3000), Path("a.jsonl")))
    assert count == sum(held) == 3000
    assert max(held) < 300
    assert predict([{"text_a": "x"}])


def test_serve_that_cannot_begin(run: Run, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    free = ("serve", "--port", "0")
    assert_one_line(run(*free), 2, "no module is here")
    assert_one_line(run(*free, "--with", "sqad"), 2, "no module 'sqad'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_one_line(run("serve", "--port", port), 2, f"127.0.0.1:{port}", "--port")
    # An address for documentation, which is no machine's.
    assert_one_line(run(*free, "--host", "192.0.2.1"), 2, "192.0.2.1", "--host")
    for name in [each for each in sys.modules if each.startswith("adapter_stilts.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert_one_line(run(*free), 2, "pip install 'adapter-stilts[serve]'")
