"""The languages of the benchmarks, and how text without spaces is cut into what is tagged."""

from __future__ import annotations

from functools import cache

from adapter_stilts.tasks import language_codes
from adapter_stilts.tasks.registry import target_tasks

UNSPACED = ("ja", "th", "zh")
"""Written without spaces between words: PAN-X tags their characters."""


@cache
def known_languages() -> tuple[str, ...]:
    """The codes of all languages that a target of XTREME or XTREME-R is evaluated in."""
    found = {code for target in target_tasks().values() for code in target.languages}
    return tuple(sorted(found))


def check_language(code: str) -> str:
    """The code of any language: the benchmarks' own where that is meant, as `he` by `iw`.

    Raises:
        UserError: no language has it; near ones are suggested.
    """
    return language_codes.check_language(code, known_languages())


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
