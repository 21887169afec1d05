"""What both SQuAD metrics share: normal forms, token overlap, and reading of rows.

Source: the official scripts evaluate-v1.1.py and evaluate-v2.0.py,
https://rajpurkar.github.io/SQuAD-explorer/.
"""

from __future__ import annotations

import logging
import re
import string
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """The normal form in which answers are compared.

    In this order: lower case; ASCII punctuation deleted, so that it parts no words ("U.S." is
    "us"); the English articles, as whole words, become spaces; runs of whitespace become one
    space, none at the ends.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def token_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """F1 (0 to 1) of two bags of tokens; 0 without a common token, so also for empty ones."""
    if set(predicted).isdisjoint(gold):
        return 0.0
    common = sum((Counter(predicted) & Counter(gold)).values())
    precision = common / len(predicted)
    recall = common / len(gold)
    return 2 * precision * recall / (precision + recall)


def rows_by_id(rows: Iterable[Row], what: str) -> dict[str, Row]:
    """Rows by their `id`, in their order.

    Raises:
        ValueError: a row has no id, or two have the same.
    """
    found: dict[str, Row] = {}
    for index, row in enumerate(rows):
        name = row.get("id") if isinstance(row, Mapping) else None
        if not isinstance(name, str):
            raise ValueError(f"{what} {index} (counted from 0) has no 'id' that is a string")
        if name in found:
            raise ValueError(f"two {what}s have the id '{name}'")
        found[name] = row
    return found


def prediction_text(row: Row) -> str:
    """The predicted answer of a row.

    Raises:
        ValueError: there is none; the empty string is one.
    """
    text = row.get("prediction_text")
    if not isinstance(text, str):
        raise ValueError(f"prediction '{row['id']}': 'prediction_text' must be a string")
    return text


def gold_texts(row: Row) -> list[str]:
    """The gold answers of a row; none where the question is unanswerable.

    Raises:
        ValueError: they are not as in `{"answers": {"text": [...], "answer_start": [...]}}`.
    """
    answers = row.get("answers")
    texts = answers.get("text") if isinstance(answers, Mapping) else None
    if texts is None or isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"reference '{row['id']}': 'answers' must hold 'text', a list of strings")
    return list(texts)


def warn_missing(references: Mapping[str, Row], predictions: Collection[str]) -> None:
    """Say, in one line, which questions have no prediction."""
    missing = [name for name in references if name not in predictions]
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        logger.warning(
            "%d of %d questions have no prediction and count as wrong: %s",
            len(missing),
            len(references),
            some,
        )
