"""The one adapter to `evaluate`: a metric of this package as an `evaluate.Metric`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import evaluate
from datasets import Features, List, Value

from adapter_stilts.errors import UserError
from adapter_stilts.metrics import MetricSpec
from adapter_stilts.registered import name_failures_of


class BufferedMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """`evaluate.Metric` without its Arrow file: `add`, `add_batch` and `compute` work as there.

    `evaluate` passes predictions and references through one Arrow table, by default in a locked
    file below the Hugging Face cache. Processes then wait for each other's locks, a read-only
    cache fails, numbers are cast silently, optional fields are not possible, and questions
    without a prediction neither, since both columns must be equally long. Here rows stay as they
    come, and the metric's function checks them. `features` still declares their form.
    """

    spec: ClassVar[MetricSpec]
    """What it computes: `metric_class` makes a subclass for each."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "keep_in_memory": True})
        self._predictions: list[Any] = []
        self._references: list[Any] = []

    def _info(self) -> evaluate.MetricInfo:
        spec = self.spec
        features = {}
        if spec.form:
            columns = zip(("predictions", "references"), map(_feature, spec.form), strict=True)
            features = Features(dict(columns))
        return evaluate.MetricInfo(
            description=spec.summary,
            citation=spec.citation,
            inputs_description=spec.rows,
            features=features,
            reference_urls=[spec.url] if spec.url else [],
        )

    def _build_data_dir(self) -> str:
        """Where `evaluate` would put its files; unlike there, the folder is not made."""
        return str(Path(self._data_dir_root, self.name, self.config_name))

    def __len__(self) -> int:
        return max(len(self._predictions), len(self._references))

    def add(self, *, prediction: Any = None, reference: Any = None) -> None:
        """Add one prediction and its reference."""
        self.add_batch(
            predictions=None if prediction is None else [prediction],
            references=None if reference is None else [reference],
        )

    def add_batch(
        self,
        *,
        predictions: Iterable[Any] | None = None,
        references: Iterable[Any] | None = None,
    ) -> None:
        """Add several predictions and references; of pairs, other numbers are a `ValueError`.

        They are lists, arrays, tensors or columns.
        """
        predicted, gold = _rows(predictions), _rows(references)
        if self.spec.paired and len(predicted) != len(gold):
            raise ValueError(f"{self.name}: {len(predicted)} predictions, {len(gold)} references")
        self._predictions += predicted
        self._references += gold

    def compute(
        self,
        *,
        predictions: Iterable[Any] | None = None,
        references: Iterable[Any] | None = None,
        **options: Any,
    ) -> dict[str, float]:
        """Score everything added so far, and what is given here; then forget it all.

        Returns:
            The scores by name, the primary one first.

        Raises:
            ValueError: there is nothing to score, or a row is not as `features` declares it.
            UserError: the metric is a plug-in's, and it fails or gives no scores.
        """
        try:
            self.add_batch(predictions=predictions, references=references)
            if not self._references:
                raise ValueError(f"{self.name}: there are no references to score")
            found, first = self._scores(options), self.spec.primary
            return {name: float(value) for name, value in {first: found[first], **found}.items()}
        finally:
            self._predictions, self._references = [], []

    def _scores(self, options: dict[str, Any]) -> dict[str, float]:
        if self.spec.place:
            return _scores_of_plugin(self.spec, self._predictions, self._references)
        has_language = "language" in inspect.signature(self.spec.score).parameters
        if has_language and self.config_name != "default":  # of `evaluate`, where none is named
            options = {"language": self.config_name, **options}
        found: dict[str, float] = self.spec.score(self._predictions, self._references, **options)
        return found


def metric_class(of: MetricSpec) -> type[BufferedMetric]:
    """The class of a metric, as `evaluate` has one for each: it is named after its class."""
    return type(of.name, (BufferedMetric,), {"spec": of})


def _feature(form: Any) -> Any:
    """A type of `datasets` as `MetricSpec.form` writes it."""
    if isinstance(form, dict):
        return {name: _feature(inner) for name, inner in form.items()}
    return List(_feature(form[0])) if isinstance(form, list) else Value(form)


def _rows(values: Any) -> list[Any]:
    """A list of plain Python rows, from a list, an array, a tensor or a column."""
    if values is None:
        return []
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _scores_of_plugin(
    own: MetricSpec, predictions: list[Any], references: list[Any]
) -> dict[str, float]:
    """Scores by name, as a plug-in's function gives them; refuses what are no scores."""
    called = f"{own.place}: metric '{own.name}'"
    with name_failures_of(called):
        found = own.score(predictions, references)
    scores = found if isinstance(found, Mapping) else {own.primary: found}
    for name, value in scores.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise UserError(f"{called}: '{name}' is a {type(value).__name__}, not a number")
        if not math.isfinite(value):
            raise UserError(f"{called}: '{name}' is {float(value)}, not a finite number")
    if own.primary not in scores:
        raise UserError(
            f"{called} gives {', '.join(map(str, scores)) or 'nothing'}, but no "
            f"'{own.primary}': return it, or name another with primary=…"
        )
    return {str(name): float(value) for name, value in scores.items()}
