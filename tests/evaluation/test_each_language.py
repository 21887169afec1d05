"""`lang:*`: every language with a module of its own below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.run import Evaluation, evaluate


def run(*compositions: str, **options: Any) -> list[Evaluation]:
    given = {"compositions": compositions, "data": "data", "precision": "fp32", **options}
    return evaluate("tiny-qa", **given)


def scores(evaluation: Evaluation) -> dict[str, Any]:
    return {language: dict(each) for language, each in evaluation.scores.items()}


def test_every_language_has_its_own_and_those_without_are_named(with_languages: Path) -> None:
    (each,) = run("stack(lang:*, squad)", out="each")
    assert each.composition == "stack(lang:*, squad)"
    assert sorted(each.languages) == ["en", "sw"]
    assert sorted(each.missing) == ["de", "ko"]
    assert "no module for the language 'de'" in each.missing["de"]
    assert sorted(path.name for path in (with_languages / "each").iterdir()) == ["en", "sw"]
    for language in ("en", "sw"):
        entry = each.languages[language]
        assert (each.folder_of(language) / entry["file"]).is_file()
        (one,) = run(f"stack(lang:{language}, squad)", langs=language)
        assert scores(one) == {language: scores(each)[language]}


def test_beside_others_it_is_what_it_is_alone(with_languages: Path) -> None:
    compositions = ("squad", "stack(lang:sw, squad)", "qa")
    together = run(*compositions, langs="sw")
    for text, found in zip(compositions, together, strict=True):
        (alone,) = run(text, langs="sw", overwrite=True)
        assert scores(alone) == scores(found)


def test_without_any_module_there_is_one_line(with_languages: Path) -> None:
    with pytest.raises(UserError, match="no module for the language 'de'"):
        run("stack(lang:*, squad)", langs="de,ko")
