"""Codes of languages: any of ISO 639; other common ones point to ours; the rest gets a hint."""

from __future__ import annotations

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.tasks.languages import check_language, cut_words, known_languages, spellings
from adapter_stilts.tasks.languages import known_language as of_benchmarks


@pytest.mark.parametrize("code", known_languages())
def test_ours_are_languages(code: str) -> None:
    assert of_benchmarks(code) == code
    assert check_language(code) in (code, "fil")


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("ha", "ha"), ("hau", "ha"), ("gsw", "gsw"), ("sr-Latn", "sr-Latn"), ("sr_latn", "sr-Latn"),
        ("iw", "he"), ("in", "id"), ("jw", "jv"), ("fil", "tl"), ("cmn", "zh"), ("arb", "ar"),
        ("deu", "de"), ("ger", "de"), ("SW", "sw"), ("swh", "sw"), ("es-419", "es-419"),
    ],
)  # fmt: skip
def test_other_codes(code: str, meant: str) -> None:
    assert of_benchmarks(code) == meant


def test_a_region_is_left_out_last() -> None:
    assert spellings("pt-BR", ("pt", "en")) == ["pt-BR", "pt"]
    assert spellings("zh-Hans", ("zh",)) == ["zh-Hans", "zh"]
    assert spellings("en-de", ("en-de",)) == ["en-de"]


@pytest.mark.parametrize(
    "code",
    [
        "xx", "qqq", "und", "mul", "zxx", "x-mine", "english", "1", "../x", "sr-Xxxx", "a*", "",
        "en-de", "sw-",
    ],
)  # fmt: skip
def test_no_languages(code: str) -> None:
    with pytest.raises(UserError, match=r"^no language '") as caught:
        of_benchmarks(code)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("code", "hint"), [("jp", "ja"), ("cz", "cs"), ("ua", "uk")])
def test_hints(code: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{hint}'"):
        of_benchmarks(code)


def test_words_of_unspaced_languages_whatever_the_script() -> None:
    assert cut_words("東京 駅", "zh-Hant") == ["東", "京", "駅"]
    assert cut_words("Ina kwana", "ha") == ["Ina", "kwana"]
