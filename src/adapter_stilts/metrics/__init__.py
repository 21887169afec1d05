"""The scores of the package: every module here without a leading underscore is one metric.

All scores are percentages (0 to 100), as the official SQuAD scripts print them; thresholds are
not. Everything is computed in memory from what the caller hands over: no file is written, nothing
is fetched, and `evaluate.load` is not used.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from adapter_stilts.errors import unknown
from adapter_stilts.metrics._scores import Spread as Spread
from adapter_stilts.registered import added

if TYPE_CHECKING:  # `evaluate` takes a second to import: only when a metric is asked for
    from adapter_stilts.metrics._base import BufferedMetric


def metric_names() -> tuple[str, ...]:
    """The names that `get_metric` knows, in order: the package's and those of plug-ins."""
    return tuple(sorted((*built_in_metrics(), *added("metric"))))


def metrics_of(head: str) -> tuple[str, ...]:
    """The names of the metrics of plug-ins that score a kind of head."""
    return tuple(name for name, own in added("metric").items() if head in own.value.heads)


@cache
def built_in_metrics() -> tuple[str, ...]:
    """The metric modules of this folder, in order."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def _metric_class(name: str) -> type[BufferedMetric]:
    if name not in metric_names():
        raise unknown("metric", name, metric_names())
    if own := added("metric").get(name):
        from adapter_stilts.metrics._own import metric_class

        return metric_class(own.value)
    metric: type[BufferedMetric] = importlib.import_module(f"{__name__}.{name}").METRIC
    return metric


def get_metric(name: str) -> BufferedMetric:
    """A new, empty metric (an `evaluate.Metric`) of that name; it scores in percent.

    >>> get_metric("accuracy").compute(predictions=[0, 1, 1, 0], references=[0, 1, 0, 0])
    {'accuracy': 75.0}

    Raises:
        UserError: no metric has that name; near names are suggested.
    """
    return _metric_class(name)()


def primary(name: str) -> str:
    """The key of the metric's result that model selection maximises.

    Accuracies select on themselves, QQP and SQuAD on `f1`. SQuAD 2.0 selects on `best_f1`, the
    dev F1 at the best no-answer threshold, as the fine-tuning scripts of the leader board do: a
    checkpoint is then judged by its ranking of the questions, not by one fixed threshold. Where
    no prediction carries a no-answer score, `best_f1` equals `f1`.

    >>> primary("squad_v2")
    'best_f1'

    Raises:
        UserError: no metric has that name.
    """
    if own := added("metric").get(name):
        return str(own.value.primary)
    return _metric_class(name).primary


def metric_code(name: str) -> str:
    """A hash of the code of a plug-in's metric; empty for the package's."""
    own = added("metric").get(name)
    if own is None:
        return ""
    from adapter_stilts.data.code_digest import code_digest

    return code_digest(own.value.score)[:16]
