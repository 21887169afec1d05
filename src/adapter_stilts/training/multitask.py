"""One module for several tasks: the general-purpose option that is trained once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Unpack

from adapter_stilts.backbones import DEFAULT_BACKBONE
from adapter_stilts.data.formats import read_lines
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import text_digest
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.tasks.registry import get_task, intermediate_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.options import DataOptions
from adapter_stilts.training.run import Trained, train
from adapter_stilts.training.spec import Mixture, Text, TextFile, TrainingSpec
from adapter_stilts.zoo.again import named


@checks_keywords
def train_multitask(
    tasks: str | Sequence[str | Path | TaskSpec] = "all",
    *,
    temperature: float = 2.0,
    normalise_losses: bool = False,
    mlm_text: str | Path | None = None,
    mlm_share: float = 0.2,
    backbone: str | PathLike[str] = DEFAULT_BACKBONE,
    **options: Unpack[DataOptions],
) -> Trained:
    """Trains one module for several tasks, with a head for each, and writes it to disk.

    Every batch is of one task, which is drawn in proportion to min(n, 2^17)^(1/T), n being its
    number of examples (Raffel et al. 2020; Phang et al. 2020, section 3). An epoch is as many
    batches as one pass over all tasks takes, each up to 2^17 examples. The step that is kept is
    the best by the mean of the tasks' dev scores; the scores of each are in the record.

    Args:
        tasks: `all` intermediate tasks, or some: their names, paths of task files or specs, in a
            list or with commas between. Rows of your own are taken from a task file.
        temperature: T; 1 goes by size, a high one makes all tasks alike.
        normalise_losses: divide every loss by that of a guess (Aghajanyan et al. 2021).
        mlm_text: a folder of text files, one a language and named after it: they are read for
            masked language modelling, in batches between those of the tasks.
        mlm_share: the part of all batches that are of text.
        backbone: as for `train_adapter`.
        options: see `DataOptions`; `limit` and `dev_limit` are of each task.

    Raises:
        UserError: as of `train_adapter`; an unknown task, the same one twice, a task without
            data, or a folder without text.
    """
    specs = parse_tasks(tasks, alone=mlm_text is not None)
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature must be above 0, not {temperature:g}")
    if not 0 < mlm_share < 1:
        raise UserError(f"mlm-share must lie between 0 and 1, not {mlm_share:g}")
    text = None
    if mlm_text is not None:
        text = Text(Path(mlm_text), read_text(Path(mlm_text).expanduser()), mlm_share)
    mixture = Mixture(float(temperature), normalise_losses, text)
    spec = TrainingSpec(tuple(specs.values()), mixture=mixture, named=tuple(specs))
    return train(spec, text_of(backbone), options)


def parse_tasks(
    tasks: str | Sequence[str | Path | TaskSpec], *, alone: bool = False
) -> dict[str, TaskSpec]:
    """The tasks by what a command calls them, in alphabetical order of their names.

    Raises:
        UserError: an unknown task, the same one twice, or only one where that is not enough.
    """
    names: list[str | Path | TaskSpec] = []
    listed = tasks if isinstance(tasks, Iterable) else [tasks]
    names += tasks.split(",") if isinstance(tasks, str) else listed
    names = [each.strip() if isinstance(each, str) else each for each in names]
    if names == ["all"]:
        return dict(intermediate_tasks())
    found: dict[str, tuple[str, TaskSpec]] = {}
    for each in names:
        if each == "":  # a comma at the end
            continue
        task = get_task(each)
        if task.name in found:
            raise UserError(f"tasks: '{task.name}' is given twice")
        found[task.name] = named(each), task
    if not found:
        raise UserError("no tasks given: name some, or all")
    if len(found) == 1 and not alone:
        (only,) = found
        raise UserError(
            f"tasks: '{only}' is only one: `adstilts train-adapter {only}` trains a module for it"
        )
    return dict(found[name] for name in sorted(found))


def read_text(folder: Path) -> tuple[TextFile, ...]:
    """The text in every file of a folder that ends in `.txt`, by the files' names.

    Raises:
        UserError: there is no such folder, no such file in it, or one that is empty or not UTF-8.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "is not there"
        raise UserError(f"text folder '{folder}' {what}")
    files = sorted(path for path in folder.glob("*.txt") if path.is_file())
    if not files:
        raise UserError(f"text folder '{folder}' has no .txt file: one a language, such as sw.txt")
    return tuple(map(_read, files))


def _read(path: Path) -> TextFile:
    try:
        lines = tuple(text for _, line in read_lines(path) if (text := line.strip()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not lines:
        raise UserError(f"{path}: the file has no text")
    return TextFile(path.stem, lines, text_digest("\n".join(lines)))
