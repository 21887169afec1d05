"""The scores of the package: plain functions, each made a metric by one decorator.

All scores are percentages (0 to 100), as the official SQuAD scripts print them; thresholds are
not. Everything is computed in memory from what the caller hands over: no file is written, nothing
is fetched, and `evaluate.load` is not used.
"""

from adapter_stilts.metrics._scores import Spread, spreads
from adapter_stilts.metrics.registry import (
    MetricSpec,
    built_in_metrics,
    get_metric,
    metric_code,
    metric_names,
    metrics_of,
    primary,
)

__all__ = [
    "MetricSpec",
    "Spread",
    "built_in_metrics",
    "get_metric",
    "metric_code",
    "metric_names",
    "metrics_of",
    "primary",
    "spreads",
]
