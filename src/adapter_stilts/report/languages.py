"""Script, family and share of the pre-training data, by language; `languages.tsv` names sources."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCE = (
    "Sizes: CC-100, on which XLM-R was pretrained (Conneau et al. 2020, table 6); smaller models "
    "distilled from it inherit them. Families: Hu et al. 2020."
)


class Traits(NamedTuple):
    """What a language is called by; `gib` is None where it is not known."""

    script: str
    family: str
    gib: float | None

    @property
    def size(self) -> str:
        """A class of sizes."""
        if self.gib is None:
            return "not known"
        bounds = {50: "50 GiB or more", 10: "10 to 50 GiB", 1: "1 to 10 GiB"}
        return next((said for least, said in bounds.items() if self.gib >= least), "below 1 GiB")


@cache
def _table() -> dict[str, Traits]:
    text = Path(__file__).with_name("languages.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        row["code"]: Traits(row["script"], row["family"], float(row["gib"]))
        for row in csv.DictReader(lines, delimiter="\t")
    }


def traits(language: str) -> Traits:
    """Those of a language; of a pair such as en-de, of the first; of others, what is known.

    >>> traits("sw")
    Traits(script='Latin', family='Niger-Congo', gib=1.6)
    """
    code = language.partition("-")[0]
    return _table().get(code) or Traits("not known", "not known", None)
