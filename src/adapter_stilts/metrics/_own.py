"""A plug-in's function as a metric."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import evaluate

from adapter_stilts.errors import UserError
from adapter_stilts.heads import get_head
from adapter_stilts.metrics._base import BufferedMetric
from adapter_stilts.plugins.register import OwnMetric


def metric_class(own: OwnMetric) -> type[BufferedMetric]:
    """The metric that a function computes, as `evaluate` has it."""

    class FunctionMetric(BufferedMetric):
        primary = own.primary
        paired = not any(get_head(kind).unique_ids for kind in own.heads)

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=own.summary,
                citation="",
                inputs_description="predictions, references: one a row.",
                features={},
            )

        def _compute(self, *, predictions: Any, references: Any, **_: Any) -> dict[str, float]:
            try:
                found = own.score(predictions, references)
            except Exception as error:
                what = " ".join(f"{type(error).__name__}: {error}".split())
                raise UserError(f"{_named(own)} fails with {what} (--debug shows where)") from error
            return _scores(own, found)

    return FunctionMetric


def _named(own: OwnMetric) -> str:
    return f"{own.place}: metric '{own.name}'"


def _scores(own: OwnMetric, found: Any) -> dict[str, float]:
    """Scores by name.

    Raises:
        UserError: they are no numbers, or the primary one is not among them.
    """
    scores = found if isinstance(found, Mapping) else {own.primary: found}
    for name, value in scores.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise UserError(f"{_named(own)}: '{name}' is a {type(value).__name__}, not a number")
    if own.primary not in scores:
        raise UserError(
            f"{_named(own)} gives {', '.join(map(str, scores)) or 'nothing'}, but no "
            f"'{own.primary}': return it, or name another with primary=…"
        )
    return {str(name): float(value) for name, value in scores.items()}
