"""Script, family and share of the pre-training data, by language; `languages.tsv` names sources."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from langcodes import Language
from langcodes.data_dicts import LIKELY_SUBTAGS

SOURCE = (
    "Sizes: CC-100, on which XLM-R was pretrained (Conneau et al. 2020, table 6); smaller models "
    "distilled from it inherit them. Families: Glottolog. Scripts: the likely one of CLDR."
)
UNKNOWN = "not known"
SCRIPTS = {
    "Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Cyrl": "Cyrillic",
    "Deva": "Devanagari", "Ethi": "Ethiopic", "Geor": "Georgian", "Grek": "Greek",
    "Gujr": "Gujarati", "Guru": "Gurmukhi", "Hans": "Han", "Hant": "Han", "Hebr": "Hebrew",
    "Jpan": "Kanji and kana", "Khmr": "Khmer", "Knda": "Kannada", "Kore": "Hangul",
    "Laoo": "Lao", "Latn": "Latin", "Mlym": "Malayalam", "Mymr": "Burmese", "Orya": "Odia",
    "Sinh": "Sinhala", "Taml": "Tamil", "Telu": "Telugu", "Thai": "Thai",
}  # fmt: skip
"""What the scripts of ISO 15924 are called; the two kinds of Chinese characters are one."""


class Traits(NamedTuple):
    """What a language is called by; `gib` is None where it is not known."""

    script: str
    family: str
    gib: float | None

    @property
    def size(self) -> str:
        """A class of sizes."""
        if self.gib is None:
            return UNKNOWN
        bounds = {50: "50 GiB or more", 10: "10 to 50 GiB", 1: "1 to 10 GiB"}
        return next((said for least, said in bounds.items() if self.gib >= least), "below 1 GiB")


@cache
def _table() -> dict[str, tuple[str, float]]:
    text = Path(__file__).with_name("languages.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        row["code"]: (row["family"], float(row["gib"]))
        for row in csv.DictReader(lines, delimiter="\t")
    }


def traits(language: str) -> Traits:
    """Those of a language; of a pair such as en-de, of the first; of others, what is known.

    >>> traits("sw")
    Traits(script='Latin', family='Atlantic-Congo', gib=1.6)
    """
    code = language.partition("-")[0]
    family, gib = _table().get(code, (UNKNOWN, None))
    return Traits(_script(language), family, gib)


def _script(tag: str) -> str:
    """The script that a language is written in: as its tag says it, else the likely one."""
    try:
        found = Language.get(tag)
    except ValueError:
        return UNKNOWN
    # Of what it does not know, `maximize` makes English.
    known = found.script or found.language in LIKELY_SUBTAGS
    code = (found.maximize().script or "") if known else ""
    return SCRIPTS.get(code, code) or UNKNOWN
