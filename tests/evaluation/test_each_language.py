"""`lang:*`: every language with a module of its own below."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.run import evaluate
from adapter_stilts.evaluation.summary import Evaluation
from adapter_stilts.zoo.local import save_module
from adapter_stilts.zoo.record import NO_HEAD
from made_modules import make_engine, make_module, make_record


@pytest.fixture
def languages(tiny: Path, made_zoo: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, and a zoo with modules for English and Swahili."""
    zoo = shutil.copytree(made_zoo, tiny / "zoo-of-languages")
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))
    engine = make_engine(str(tiny_xlmr))
    for number, code in enumerate(("en", "sw")):
        name = f"lang-{code}"
        make_module(engine, name, "invertible", "embedding", leave_out=(0,), seed=number)
        about: dict[str, Any] = {"task": name, "run": f"{number}" * 16}
        record = make_record(engine, name, "invertible", "embedding", **about)
        record = dataclasses.replace(record, head=NO_HEAD)
        save_module(engine, record, "embedding", zoo / "tiny" / name)
    return tiny


def run(*compositions: str, **options: Any) -> list[Evaluation]:
    given = {"compositions": compositions, "data": "data", "precision": "fp32", **options}
    return evaluate("tiny-qa", **given)


def scores(evaluation: Evaluation) -> dict[str, Any]:
    return {language: dict(each) for language, each in evaluation.scores.items()}


def test_every_language_has_its_own_and_those_without_are_named(languages: Path) -> None:
    (each,) = run("stack(lang:*, squad)", out="each")
    assert each.composition == "stack(lang:*, squad)"
    assert sorted(each.languages) == ["en", "sw"]
    assert sorted(each.missing) == ["de", "ko"]
    assert "no module for the language 'de'" in each.missing["de"]
    assert sorted(path.name for path in (languages / "each").iterdir()) == ["en", "sw"]
    for language in ("en", "sw"):
        (one,) = run(f"stack(lang:{language}, squad)", langs=language)
        assert scores(one) == {language: scores(each)[language]}


def test_beside_others_it_is_what_it_is_alone(languages: Path) -> None:
    compositions = ("squad", "stack(lang:sw, squad)", "qa")
    together = run(*compositions, langs="sw")
    for text, found in zip(compositions, together, strict=True):
        (alone,) = run(text, langs="sw", overwrite=True)
        assert scores(alone) == scores(found)


def test_without_any_module_there_is_one_line(languages: Path) -> None:
    with pytest.raises(UserError, match="no module for the language 'de'"):
        run("stack(lang:*, squad)", langs="de,ko")
