"""Prediction files in XTREME's submission format: their names, their content, their writing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts import paths
from adapter_stilts.errors import FailureError
from adapter_stilts.heads import get_head
from adapter_stilts.tasks.target_spec import TargetSpec

if TYPE_CHECKING:
    import datasets


def slug(expression: str) -> str:
    """A composition as the name of a folder.

    >>> slug("stack(squad, tydiqa)")
    'stack-squad-tydiqa'
    """
    return re.sub(r"[^\w.+]+", "-", expression).strip("-.") or "composition"


def folder_name(target: TargetSpec) -> str:
    """The target's folder in a submission to XTREME."""
    return target.submission or target.name


def suffix(target: TargetSpec) -> str:
    """The ending of the target's prediction files, as XTREME's `evaluate.py` expects it."""
    if target.retrieval is not None and target.retrieval.search == "ranking":
        return "json"
    return get_head(target.head).suffix


def items_path(predictions: Path) -> Path:
    """Where the scores of the single items of a file of predictions lie."""
    return predictions.with_name(f"{predictions.name}.items.parquet")


def written(target: TargetSpec, result: LanguageResult) -> str:
    """The content of a prediction file."""
    if suffix(target) == "json":
        return "{\n" + ",\n".join(result.predictions) + "\n}\n"
    return "".join(f"{line}\n" for line in result.predictions)


def prediction_lines(
    target: TargetSpec, values: Sequence[Any], examples: datasets.Dataset
) -> list[str]:
    """Predictions for some examples as lines of a file; for answers, members of a JSON object.

    One label a line, as XTREME's own files call it (PAWS-X: 0 or 1); one tag a line and an empty
    line after every sentence; options as XTREME-R has them, `{"label": 1}`; answers by the
    question's id.
    """
    return get_head(target.head).written(target, values, examples)


def write_whole(path: Path, content: str) -> None:
    """Writes a file that appears whole or not at all.

    Raises:
        FailureError: the disk is full or the folder cannot be written.
    """
    try:
        paths.write_whole(path, content)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> FailureError:
    """What to tell the user when a file cannot be written."""
    return FailureError(
        f"cannot write {path} ({error.strerror or error}): free some space or choose another "
        "--out; what is written is kept"
    )


@dataclass(frozen=True)
class LanguageResult:
    """Scores in percent (none where the data has no labels), and what was predicted.

    `predictions` are the lines of the file that XTREME's evaluation code reads; for a JSON
    object, its members. `seconds` are those spent on this language. `details` are worth keeping
    beside the scores: the layer of sentence vectors, a threshold that was fitted.
    """

    scores: dict[str, float]
    predictions: list[str]
    labelled: bool
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
