"""An `evaluate.Metric` that keeps what it is given in plain lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import evaluate


class BufferedMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """`evaluate.Metric` without its Arrow file: `add`, `add_batch` and `compute` work as there.

    `evaluate` passes predictions and references through one Arrow table, by default in a locked
    file below the Hugging Face cache. Processes then wait for each other's locks, a read-only
    cache fails, numbers are cast silently, optional fields are not possible, and questions
    without a prediction neither, since both columns must be equally long. Here rows stay as they
    come; `_compute` checks them. `features` still declares their form.

    A subclass defines `_info`, `_compute` and `primary`.
    """

    primary: ClassVar[str]
    """The key of the result that model selection maximises."""

    paired: ClassVar[bool] = True
    """Whether prediction i belongs to reference i; if not, rows are matched by their id."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "keep_in_memory": True})
        self._predictions: list[Any] = []
        self._references: list[Any] = []

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
        """Add several predictions and references: lists, arrays, tensors or columns.

        Raises:
            ValueError: the numbers differ (of metrics that pair them by position).
        """
        predicted, gold = _rows(predictions), _rows(references)
        if self.paired and len(predicted) != len(gold):
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

        Raises:
            ValueError: there is nothing to score, or a row is not as `features` declares it.
        """
        try:
            self.add_batch(predictions=predictions, references=references)
            if not self._references:
                raise ValueError(f"{self.name}: there are no references to score")
            scores: dict[str, float] = self._compute(
                predictions=self._predictions, references=self._references, **options
            )
            return scores
        finally:
            self._predictions, self._references = [], []


def _rows(values: Any) -> list[Any]:
    """A list of plain Python rows, from a list, an array, a tensor or a column."""
    if values is None:
        return []
    return list(values.tolist() if hasattr(values, "tolist") else values)
