"""Exact match of answers that are right or wrong as a whole."""

from __future__ import annotations

from adapter_stilts.metrics.squad import Squad


class ExactMatch(Squad):
    """The scores of SQuAD 1.1, of which exact match is the first: for answers of a word or two."""

    primary = "exact_match"


METRIC = ExactMatch
