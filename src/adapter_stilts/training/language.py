"""A module for a language, learnt on raw text of it."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from adapter_stilts.backbones import DEFAULT_BACKBONE
from adapter_stilts.errors import UserError
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.tasks.languages import known_language
from adapter_stilts.tasks.spec import Row, TaskSpec
from adapter_stilts.training.options import RunOptions
from adapter_stilts.training.run import Trained, train
from adapter_stilts.training.spec import TrainingSpec, chosen_recipe
from adapter_stilts.zoo.record import LANGUAGE


@checks_keywords
def train_language(
    language: str,
    text: str | Path,
    *,
    backbone: str = DEFAULT_BACKBONE,
    **options: Unpack[RunOptions],
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
        options: see `RunOptions`; limits are in lines. By default the recipe is `language`, and the
            method `invertible`.

    Raises:
        UserError: as of `train_adapter`; no such language, or no usable text.
    """
    code = known_language(language)
    recipe = options.get("recipe", "default")
    chosen = chosen_recipe(recipe, {"method": options.get("method")}, usual="language")
    path = Path(text).expanduser()
    if not path.exists():
        raise UserError(f"text file '{path}' is not there")
    own: RunOptions = {**options, "recipe": chosen, "method": None}
    return train(TrainingSpec((_task(code),), text=path), backbone, own)


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
