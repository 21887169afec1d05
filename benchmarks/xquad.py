"""Zero-shot question answering: a module trained on English SQuAD, asked in other languages."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from adapter_stilts import Module, get_task
from adapter_stilts.data.formats import read_rows
from adapter_stilts.heads.base import Example

LANGUAGES = ("en", "ar", "de", "es", "hi", "ru", "th", "tr", "vi", "zh")


def xquad_examples(data: Path, language: str, questions: int) -> list[Example]:
    """The first questions of a language's file."""
    rows = [row for _, row in read_rows(data / "xquad" / f"xquad.{language}.json", "squad")]
    examples = [get_task("squad").to_example(row) for row in rows[:questions]]
    return [example for example in examples if example is not None]


def xquad_f1(
    module: Module, data: Path, *, languages: tuple[str, ...] = LANGUAGES, questions: int = 150
) -> dict[str, float]:
    """F1 by language (English normalisation, as XTREME scores XQuAD)."""
    return {
        language: module.score(xquad_examples(data, language, questions))["f1"]
        for language in languages
    }


def zero_shot_mean(scores: dict[str, float]) -> float:
    """The average over the languages that were not trained on."""
    return mean(value for language, value in scores.items() if language != "en")
