"""`adstilts evaluate` on retrieval: one layer for all that is compared, and it is said which."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.evaluation import options
from cli_kit import Result, assert_one_line
from retrieval_kit import sentence, write_bucc, write_tatoeba

Run = Callable[..., Result]
LANGUAGES = {"de": "deu", "fr": "fra"}


@pytest.fixture
def compare(
    run: Run, tiny: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Compares on Tatoeba; the tiny backbone is taken for one that was trained for its vectors."""
    monkeypatch.setattr(options, "EMBEDDED", str(tiny_xlmr))
    for language, code in LANGUAGES.items():
        pairs = [(sentence(n), f"{sentence(n)} {language}") for n in range(12)]
        write_tatoeba(tiny / "data", code, pairs)
    sources = {f"de-{n}": f"{sentence(n)} garden then" for n in range(12)}
    targets = {f"en-{n}": sentence(n) for n in range(12)}
    write_bucc(
        tiny / "data", "de", "dev", sources, targets, [(f"de-{n}", f"en-{n}") for n in range(12)]
    )

    def call(*arguments: str, languages: str = "de,fr") -> Result:
        command = ("evaluate", "tatoeba", *arguments, "--langs", languages, "--data", "data")
        return run(*command, "--precision", "fp32", "--backbone", str(tiny_xlmr))

    return call


def table(out: str, *compositions: str) -> dict[str, list[str]]:
    """The cells of the table's last rows, by their first one."""
    lines = [line.split() for line in out.splitlines()]
    return {line[0]: line[-len(compositions) :] for line in lines if line}


def layers(found: Mapping[str, Any]) -> set[int]:
    """Those that the scores of a composition were computed at."""
    return {entry["settings"]["layer"] for entry in found["languages"].values()}


def as_json(result: Result) -> dict[str, dict[str, Any]]:
    assert result[0] == 0, result
    return {each["composition"]: each for each in json.loads(result[1])}


def test_what_was_found_alone_at_another_layer_is_not_compared(compare: Run) -> None:
    code, alone, err = compare("--with", "none")
    assert code == 0, err
    assert table(alone, "none")["layer"] == ["3"]  # the last one: trained for its vectors
    both = ("--with", "none", "--with", "squad")
    code, out, err = compare(*both, languages="de")
    assert code == 0, err
    assert "de, none" in err and "de, squad" in err  # both are computed
    shown = table(out, "none", "squad")
    assert (shown["layer"], shown["pooling"]) == (["2", "2"], ["mean", "mean"])
    found = as_json(compare(*both, "--json"))
    for each in found.values():
        assert (each["layer"], each["pooling"]) == (2, "mean")
        assert each["layer_rule"] == options.RULES["middle"]
        assert layers(each) == {2} and set(each["languages"]) == {"de", "fr"}
    # At one layer a second call, of either, finds what is there.
    assert compare(*both)[2] == ""
    assert compare("--with", "squad")[2] == ""
    # Alone, the plain backbone has its own layer again.
    (again,) = as_json(compare("--with", "none", "--json")).values()
    assert again["layer"] == 3 and layers(again) == {3}


def test_a_layer_and_a_pooling_that_are_asked_for(compare: Run) -> None:
    both = ("--with", "none", "--with", "squad")
    assert compare(*both)[0] == 0
    code, out, err = compare(*both, "--layer", "1", "--pooling", "max")
    assert code == 0, err
    shown = table(out, "none", "squad")
    assert (shown["layer"], shown["pooling"]) == (["1", "1"], ["max", "max"])
    for each in as_json(compare(*both, "--layer", "1", "--pooling", "max", "--json")).values():
        assert (each["layer"], each["pooling"]) == (1, "max")
        assert each["layer_rule"] == "as asked for"
    assert table(compare(*both)[1], "none", "squad")["layer"] == ["2", "2"]
    assert_one_line(compare("--with", "none", "--layer", "9"), 2, "no layer 9")


def test_a_layer_that_each_was_swept_on(compare: Run) -> None:
    both = ("--with", "none", "--with", "squad")
    by_rule = compare(*both)
    assert by_rule[0] == 0, by_rule
    swept = as_json(compare(*both, "--layer-from", "bucc2018", "--json"))
    for each in swept.values():
        assert each["layer_rule"] == "best on the dev data of bucc2018 in de"
        assert layers(each) == {each["layer"]}
        kept = json.loads((Path(each["folder"]) / "tatoeba" / "layer.json").read_text())
        means = kept["scores"]["mean"]
        assert each["layer"] == means.index(max(means)) and len(means) == 4
    shown = table(compare(*both, "--layer-from", "bucc2018")[1], "none", "squad")
    assert shown["layer"] == [str(swept[name]["layer"]) for name in ("none", "squad")]
    # The sweep's choice is not taken for the rule's.
    assert compare(*both)[1] == by_rule[1]
