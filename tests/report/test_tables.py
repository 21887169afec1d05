"""Scripts, families and sizes: of every language that a target has, and as their sources say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from langcodes import Language

from adapter_stilts.report import tables as languages
from adapter_stilts.report.tables import SCRIPTS, UNKNOWN, traits
from adapter_stilts.tasks.registry import target_tasks

# A letter of each: CLDR's name of a script is that of its letters in Unicode, where they differ.
LETTERS = {
    "ar": "ع", "bg": "ж", "bn": "অ", "de": "d", "el": "λ", "fa": "پ", "gu": "ગ", "he": "ש",
    "hi": "ह", "ka": "ქ", "kk": "қ", "ko": "한", "ml": "മ", "mr": "म", "my": "မ", "pa": "ਪ",
    "ru": "я", "sw": "s", "ta": "த", "te": "త", "th": "ท", "uk": "ї", "ur": "ے", "vi": "v",
}  # fmt: skip
TABLE = Path(languages.__file__).with_name("languages.tsv").read_text("utf-8")
LISTED = [line.split("\t")[0] for line in TABLE.splitlines() if re.match("[a-z]+\t", line)][1:]
UNICODE = {"Burmese": "MYANMAR"}


@pytest.mark.parametrize("language", LISTED)
def test_scripts_are_those_of_cldr(language: str) -> None:
    code = Language.get(language).maximize().script or ""
    assert traits(language).script == SCRIPTS[code]


@pytest.mark.parametrize("language", LETTERS)
def test_a_letter_of_the_language_is_of_its_script(language: str) -> None:
    import unicodedata

    script = traits(language).script
    name = unicodedata.name(LETTERS[language])
    assert name.startswith(UNICODE.get(script, script.upper())), (language, script, name)


def test_every_language_of_the_targets_is_known() -> None:
    every = {lang for each in target_tasks().values() for lang in (*each.languages, *each.others)}
    for language in sorted(every):
        found = traits(language)
        assert UNKNOWN not in found and found.gib is not None, language


def test_what_is_known_of_a_language() -> None:
    assert traits("ka") == ("Georgian", "Kartvelian", 9.1)
    assert traits("et").family == traits("fi").family == "Uralic"
    assert traits("zh") == ("Han", "Sino-Tibetan", 63.5)  # both kinds of characters
    assert traits("zh-TW").script == "Han" and traits("sr-Latn").script == "Latin"
    assert traits("en-de") == traits("en") and traits("en-de").size == "50 GiB or more"
    assert traits("qu").size == "below 1 GiB"
    for unknown in ("qaa", "zz", "", "x-own", "not a tag"):
        assert traits(unknown) == (UNKNOWN, UNKNOWN, None), unknown
    assert traits("qaa").size == UNKNOWN
