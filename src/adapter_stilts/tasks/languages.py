"""Languages: their codes by ISO 639 (BCP 47), and how text without spaces is cut into words."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache

from adapter_stilts.errors import UserError, hint

MISTAKEN = {
    "cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "iq": "ar", "ir": "fa", "jp": "ja", "kp": "ko",
    "kr": "ko", "ua": "uk", "vn": "vi",
}  # fmt: skip
"""Codes of countries that are often written for the language: no language has them."""

UNSPACED = ("ja", "th", "zh")
"""Written without spaces between words: PAN-X tags their characters."""
_NO_LANGUAGE = {"mis", "mul", "und", "zxx"}
_PRIVATE = re.compile(r"q[a-t][a-z]|x|i")


def check_language(written: str, ours: Collection[str] = ()) -> str:
    """The code of a language in its usual spelling: one of ours where that is meant.

    >>> check_language("iw"), check_language("PT-br"), check_language("fil", ["tl"])
    ('he', 'pt-BR', 'tl')

    Refuses what is no language's; says which one may be meant.
    """
    return spellings(written, ours)[0]


@cache
def known_languages() -> tuple[str, ...]:
    """The codes of all languages that a target of XTREME or XTREME-R is evaluated in."""
    from adapter_stilts.tasks.registry import target_tasks  # which declares them with these codes

    found = {code for target in target_tasks().values() for code in target.languages}
    return tuple(sorted(found))


def known_language(code: str) -> str:
    """The code of any language, the benchmarks' own where meant; refuses as `check_language`."""
    return check_language(code, known_languages())


def choose_language(
    written: str, ours: Collection[str], has_files: Callable[[str], bool] | None
) -> str:
    """The language that is meant by a code where there may be files for it under several.

    The narrowest with files goes first: `pt-BR` is `pt` only where there are no files of `pt-BR`.
    Refuses as `check_language`.

    Args:
        ours: codes that a task lists.
        has_files: whether there are files of a code; None where one cannot know.
    """
    if written in ours:
        return written
    options = spellings(written, ours)
    if has_files is not None:
        there = next(filter(has_files, options), None)
        if there is not None:
            return there
    return next((code for code in options if code in ours), options[0])


def spellings(written: str, ours: Collection[str] = ()) -> list[str]:
    """The codes that a language may go by, the most exact first; refuses as `check_language`."""
    code = written.strip()
    if code in ours:
        return [code]
    first, _, second = code.partition("-")
    if second != first and second in ours:
        raise _unknown(code, ours)  # a pair of languages, as MLQA has, and no region
    exact, broad = _canonical(code, ours), _canonical(re.split("[-_]", code)[0], ours)
    by_form = {_form(each): each for each in ours}
    found = [by_form.get(_form(exact)), exact, code, by_form.get(_form(broad)), broad]
    return list(dict.fromkeys(each for each in found if each))


def other_spellings(code: str) -> list[str]:
    """What files of a language may be named after, beside its code: other codes of the same.

    The script and the region are the usual ones of the language.

    >>> other_spellings("he")[:2], other_spellings("tl")[:2], "zh-Hans" in other_spellings("zh")
    (['iw', 'heb'], ['fil', 'tgl'], True)
    """
    from langcodes import Language
    from langcodes.data_dicts import LANGUAGE_REPLACEMENTS, NORMALIZED_MACROLANGUAGES

    if not re.fullmatch("[a-z]{2,3}", code):
        return []
    usual, form = Language.get(code).maximize(), _form(code)
    meant = {**LANGUAGE_REPLACEMENTS, **NORMALIZED_MACROLANGUAGES}
    same = [each for each in meant if "-" not in each and _form(each) in (form, code)]
    script, region = f"{code}-{usual.script}", f"{code}-{usual.territory}"
    others = [form, *sorted(same, key=len), script, region]
    others += [each.replace("-", "_") for each in (script, region)]
    return [each for each in dict.fromkeys(others) if each != code]


@cache
def _form(code: str) -> str:
    """What codes of one language have in common: `cmn` is `zh`, `tl` and `fil` are one."""
    from langcodes import standardize_tag
    from langcodes.tag_parser import LanguageTagError

    try:
        return standardize_tag(code, macro=True)
    except LanguageTagError:
        return code  # one of ours that is no language: a pair


def _canonical(code: str, ours: Collection[str]) -> str:
    from langcodes import Language, standardize_tag, tag_is_valid  # a fifth of a second

    if not re.fullmatch(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*", code) or not tag_is_valid(code):
        raise _unknown(code, ours)
    language = Language.get(code, normalize=False).language
    if language is None or language in _NO_LANGUAGE or _PRIVATE.fullmatch(language):
        raise _unknown(code, ours)
    return standardize_tag(code)


def three_letters(code: str) -> str:
    """The code by ISO 639-3, as `bre` for `br`."""
    from langcodes import Language

    return Language.get(code).to_alpha3()


def _unknown(code: str, ours: Collection[str]) -> UserError:
    meant = hint(code, ours, "give one of ISO 639, such as sw or sr-Latn")
    if code.lower() in MISTAKEN:
        meant = f"did you mean '{MISTAKEN[code.lower()]}'?"
    return UserError(f"no language '{code}': {meant}")


def cut_words(text: str, language: str = "") -> list[str]:
    """What of a text gets a tag each: its words, or its characters where spaces do not part words.

    >>> cut_words("Anna war in Prag.", "de")
    ['Anna', 'war', 'in', 'Prag.']
    >>> cut_words("東京 駅", "ja")
    ['東', '京', '駅']
    """
    words = text.split()
    unspaced = language.partition("-")[0] in UNSPACED
    return [char for word in words for char in word] if unspaced else words
