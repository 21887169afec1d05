"""The scores of the package: plain functions, each made a metric by one decorator.

All scores are percentages (0 to 100), as the official SQuAD scripts print them; thresholds are
not. Everything is computed in memory from what the caller hands over: no file is written, nothing
is fetched, and `evaluate.load` is not used.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, TypeVar

from adapter_stilts.registered import Known, additions, unknown_name

if TYPE_CHECKING:  # `evaluate` takes a second to import: only when a metric is asked for
    from adapter_stilts.metrics._evaluate import BufferedMetric

Score = TypeVar("Score", bound=Callable[..., dict[str, float]])


@dataclass(frozen=True)
class MetricSpec:
    """A function that scores predictions, and what is to be known of it.

    Attributes:
        name: what it is called in tasks.
        score: gets the predictions and the references, and options by name, and gives scores by
            name; it raises `ValueError` for a row that is not as `form` says.
        primary: which of the scores model selection maximises; larger is better.
        summary: what it computes, in a sentence.
        rows: what a prediction and a reference are, in words.
        form: the type of a prediction and of a reference: `"int64"` and the like, `[type]` for
            a list, or a dictionary of types.
        paired: whether prediction i belongs to reference i; if not, rows are matched by their id.
        citation: the paper that defines it.
        url: where its official code or its paper lies.
        heads: of a plug-in's metric, the kinds of head whose predictions it scores.
        place: of a plug-in's metric, file and line of the function.
    """

    name: str
    score: Callable[..., Any]
    primary: str
    summary: str
    rows: str = "predictions, references: one a row."
    form: tuple[Any, Any] | None = None
    paired: bool = True
    citation: str = ""
    url: str = ""
    heads: tuple[str, ...] = ()
    place: str = ""


_BUILT_IN: dict[str, MetricSpec] = {}


def metric(
    *,
    primary: str,
    summary: str,
    rows: str,
    form: tuple[Any, Any],
    paired: bool = True,
    citation: str = "",
    url: str = "",
) -> Callable[[Score], Score]:
    """Makes a function a metric of the package, which is called as the function is.

    The arguments are fields of `MetricSpec`. A function with an argument `language` can be told
    that as the configuration of the `evaluate.Metric`, too.
    """

    def decorate(function: Score) -> Score:
        name = function.__name__
        _BUILT_IN[name] = MetricSpec(
            name, function, primary, summary, rows, form, paired, citation, url
        )
        return function

    return decorate


@cache
def built_in_metrics() -> Mapping[str, MetricSpec]:
    """The package's metrics by name, in order: the files of this folder define them."""
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not info.name.startswith("_"):
            importlib.import_module(f"{__name__}.{info.name}")
    return dict(sorted(_BUILT_IN.items()))


METRICS = Known("metric", built_in_metrics)


def metric_names() -> tuple[str, ...]:
    """The names that `get_metric` knows, in order: the package's and those of plug-ins."""
    return tuple(sorted(METRICS))


def metrics_of(head: str) -> tuple[str, ...]:
    """The names of the metrics of plug-ins that score a kind of head."""
    return tuple(name for name, own in additions("metric").items() if head in own.value.heads)


def _spec(name: str) -> MetricSpec:
    found = METRICS.get(name)
    if found is None:
        raise unknown_name("metric", name, metric_names())
    return found


def get_metric(name: str) -> BufferedMetric:
    """A new, empty metric (an `evaluate.Metric`) of that name; it scores in percent.

    >>> get_metric("accuracy").compute(predictions=[0, 1, 1, 0], references=[0, 1, 0, 0])
    {'accuracy': 75.0}

    Raises:
        UserError: no metric has that name; near names are suggested.
    """
    spec = _spec(name)
    from adapter_stilts.metrics._evaluate import metric_class

    return metric_class(spec)()


def primary(name: str) -> str:
    """The key of the metric's result that model selection maximises.

    Accuracies select on themselves, QQP and SQuAD on `f1`. SQuAD 2.0 selects on `best_f1`, the
    dev F1 at the best no-answer threshold, as the fine-tuning scripts of the leader board do: a
    checkpoint is then judged by its ranking of the questions, not by one fixed threshold. Where
    no prediction carries a no-answer score, `best_f1` equals `f1`.

    >>> primary("squad_v2")
    'best_f1'

    Refuses an unknown name.
    """
    return _spec(name).primary


def metric_code(name: str) -> str:
    """A hash of the code of a plug-in's metric; empty for the package's."""
    own = additions("metric").get(name)
    if own is None:
        return ""
    from adapter_stilts.hashing import code_digest

    return code_digest(own.value.score)[:16]


def precision_recall_f1(predicted: Set[object], gold: Set[object]) -> dict[str, float]:
    """`{"f1", "precision", "recall"}` in percent; 0 where nothing is right."""
    right = len(predicted & gold)
    if not right:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = right / len(predicted), right / len(gold)
    # in this order seqeval and XTREME compute it, so that the last digit is theirs
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


@dataclass(frozen=True)
class Spread:
    """The mean of `count` scores and their sample standard deviation, if there are two or more."""

    mean: float
    sd: float | None
    count: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> Spread:
        """That of some scores, at least one.

        >>> str(Spread.of([50.0, 52.0, 54.0]))
        '52.0 ± 2.0'
        """
        return cls(fmean(scores), stdev(scores) if len(scores) > 1 else None, len(scores))

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.sd is None else f"{self.mean:.1f} ± {self.sd:.1f}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def spreads(scores: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The spread of every metric that all have, over several seeds, say."""
    return {
        metric: Spread.of([each[metric] for each in scores])
        for metric in scores[0]
        if all(metric in each for each in scores)
    }
