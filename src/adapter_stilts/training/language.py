"""A module for a language, learnt on raw text of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapter_stilts.backbones import DEFAULT_BACKBONE
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.languages import check_language
from adapter_stilts.tasks.spec import Row, TaskSpec
from adapter_stilts.training.naming import chosen_recipe
from adapter_stilts.training.recipe import Recipe
from adapter_stilts.training.run import Trained, train_adapter
from adapter_stilts.training.spec import TrainingSpec
from adapter_stilts.zoo.record import LANGUAGE


def train_language(
    language: str,
    text: str | Path,
    *,
    backbone: str = DEFAULT_BACKBONE,
    recipe: str | Recipe = "default",
    method: str | None = None,
    **options: Any,
) -> Trained:
    """Trains a module for a language by masked language modelling, and writes it to disk.

    By default it is that of MAD-X (Pfeiffer et al. 2020, arXiv:2005.00052): a bottleneck adapter
    in every layer and an invertible one at the embeddings. It is put below modules for tasks, as
    in `stack(lang:sw, squad)`. A tenth of the lines, 1,000 at most, is held out to choose the step
    to keep.

    Args:
        language: a code of ISO 639, such as `sw`.
        text: a UTF-8 file, or a folder of `.txt` files, with a sentence or a paragraph a line.
        backbone: as for `train_adapter`.
        recipe: as for `train_adapter`; by default `language`.
        method: by default `invertible`.
        options: as for `train_adapter`, without `data`; limits are in lines.

    Raises:
        UserError: as of `train_adapter`; no such language, or no usable text.
    """
    code = check_language(language)
    chosen = chosen_recipe(recipe, {"method": method}, usual="language")
    path = Path(text).expanduser()
    if not path.exists():
        raise UserError(f"text file '{path}' is not there")
    spec = TrainingSpec((_task(code),), text=path)
    return train_adapter(spec, backbone=backbone, recipe=chosen, **options)


def _task(code: str) -> TaskSpec:
    """Telling the masked words of a language, as a task."""
    return TaskSpec(
        name=f"{LANGUAGE}{code}",
        title=f"raw text ({code})",
        head="text",
        metric="accuracy",
        sources=(),
        to_example=_no_rows,
        licence="unknown",
        citation="",
        sizes={},
        language=code,
    )


def _no_rows(row: Row) -> None:
    """The text is read line by line, not as rows of a data set."""
