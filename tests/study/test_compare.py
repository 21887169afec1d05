"""`compare`, through the public API and as a person types it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import adapter_stilts
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.run import evaluate
from cli_kit import Result, assert_one_line, call_cli
from evaluation_kit import LANGUAGES, write_data

pytestmark = pytest.mark.whole

COMMON = ("--data", "data", "--precision", "fp32", "--draws", "300")


@pytest.fixture
def compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path
) -> Callable[..., Result]:
    """Calls `adstilts compare` in this process."""
    monkeypatch.setenv("COLUMNS", "80")

    return lambda *arguments: call_cli(monkeypatch, capsys, "compare", *arguments, *COMMON)


def test_differences_are_those_of_the_evaluations(tiny: Path) -> None:
    options: dict[str, Any] = {"data": "data", "precision": "fp32"}
    found = adapter_stilts.compare("nli", "nli-lora", on="tiny-nli", draws=300, **options)
    first, second = evaluate("tiny-nli", compositions=["nli", "nli-lora"], **options)
    target = found.targets["tiny-nli"]
    assert list(target.languages) == list(LANGUAGES)
    for language in LANGUAGES:
        scores = (first.scores[language]["accuracy"], second.scores[language]["accuracy"])
        assert target.scores[language] == pytest.approx(scores)
        each = target.languages[language]
        assert each.value == pytest.approx(scores[0] - scores[1])
        assert each.low <= each.value <= each.high
    assert found.overall.value == pytest.approx(
        fmean(each.value for each in target.languages.values())
    )
    assert found.overall.error > 0


def test_a_table_of_eighty_columns_and_a_picture(
    compare: Callable[..., Result], tiny: Path
) -> None:
    code, out, err = compare("qa", "qa-on-squad", "--on", "tiny-qa", "--out", "both.svg")
    assert code == 0, err
    assert max(map(len, out.splitlines()[:-2])) <= 80
    for language in LANGUAGES:
        assert f"\ntiny-qa {language} " in out
    assert "tiny-qa, 4 languages" in out
    header, *lines = (line.split() for line in out.splitlines()[2:8])
    assert header == ["on", "A", "B", "A", "-", "B", "interval", "effect"]
    assert lines[0][:2] == ["tiny-qa", "en"] and len(lines[0]) == 8  # "… to …", no effect
    assert "one seed each" in out
    picture = (tiny / "both.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg") and "tiny-qa sw" in picture
    again = compare("qa", "qa-on-squad", "--on", "tiny-qa")
    assert again == (0, out, "")  # nothing is evaluated again, and the draws are the same


def test_json_has_everything(compare: Callable[..., Result]) -> None:
    code, out, err = compare("nli", "nli-lora", "--on", "tiny-nli", "--langs", "ko,sw", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert set(found["targets"]["tiny-nli"]["languages"]) == {"ko", "sw"}
    assert found["difference"]["low"] <= found["difference"]["value"]
    assert found["difference"]["noise"]["items"] > 0
    assert found["first"] == "nli" and found["second"] == "nli-lora"


def test_seeds_are_drawn_too(
    compare: Callable[..., Result], tiny: Path, made_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tiny / "zoo"
    shutil.copytree(made_zoo, zoo)
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))
    # Two seeds of one composition: `qa`, and another module under the name of its second seed.
    shutil.copytree(zoo / "tiny" / "qa-all", zoo / "tiny" / "qa-s1")
    code, out, err = compare("qa-s*", "squad", "--on", "tiny-qa", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["targets"]["tiny-qa"]["seeds"] == [2, 1]
    assert set(found["difference"]["noise"]) == {"items", "target seeds"}
    assert found["difference"]["error"] > 0
    for both in (("qa-s*", "qa"), (" qa-s1", "qa-s*"), ("tiny/qa", "tiny/qa-s*")):
        assert_one_line(compare(*both, "--on", "tiny-qa"), 2, "one of the seeds")


def test_every_language_with_its_own_module(
    compare: Callable[..., Result], with_languages: Path
) -> None:
    each, plain = "stack(lang:*, squad)", "squad"
    code, out, err = compare(each, plain, "--on", "tiny-qa", "--json")
    assert code == 3, err  # two languages have no module
    found = json.loads(out)["targets"]["tiny-qa"]
    assert set(found["languages"]) == {"en", "sw"}
    assert set(found["missing"]) == {"de", "ko"}
    assert "no module for the language 'de'" in found["missing"]["de"]
    options: dict[str, Any] = {"data": "data", "precision": "fp32"}
    for language in ("en", "sw"):
        scores = [
            evaluate("tiny-qa", compositions=[text], langs=language, **options)[0].average["f1"]
            for text in (f"stack(lang:{language}, squad)", plain)
        ]
        assert found["languages"][language]["scores"] == pytest.approx(scores)
    assert_one_line(compare(each, "stack(lang:*,squad)", "--on", "tiny-qa"), 2, "same")


def test_seeds_above_the_language_modules(
    compare: Callable[..., Result], with_languages: Path
) -> None:
    zoo = with_languages / "zoo-of-languages" / "tiny"
    shutil.copytree(zoo / "qa-all", zoo / "squad-s1")
    both = ("stack(lang:*, squad-s*)", "squad-s*")
    code, out, err = compare(*both, "--on", "tiny-qa", "--langs", "en,sw", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["targets"]["tiny-qa"]["seeds"] == [2, 2]
    assert set(found["difference"]["noise"]) == {"items", "target seeds"}


def test_what_cannot_be_compared_is_said(compare: Callable[..., Result], tiny: Path) -> None:
    assert_one_line(compare("qa", "qa", "--on", "tiny-qa"), 2, "same")
    assert_one_line(compare("qa", "squad", "--on", "tiny-qaa"), 2, "tiny-qaa", "tiny-qa")
    assert_one_line(compare("qa", "squad", "--on", ","), 2, "--on")
    assert_one_line(compare("qa", "", "--on", "tiny-qa"), 2, "a module's name")
    assert_one_line(compare("qa", "squad", "--on", "tiny-qa", "--out", "a.gif"), 2, "a.svg")
    write_data(tiny / "data", "ko", labels=False)
    code, out, err = compare("qa", "squad", "--on", "tiny-qa", "--langs", "ko,sw")
    assert code == 3, err
    assert "not compared: ko" in out
    only = compare("qa", "squad", "--on", "tiny-qa", "--langs", "ko")
    assert_one_line(only, 2, "no language")


def test_too_few_draws_are_refused(tiny: Path) -> None:
    with pytest.raises(UserError, match="draws"):
        adapter_stilts.compare("qa", "squad", on="tiny-qa", data="data", draws=10)
