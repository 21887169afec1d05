"""From a task, several, or a language's text to a module on disk, with one seed or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from adapter_stilts.backbones import DEFAULT_BACKBONE, find_backbone
from adapter_stilts.data.formats import read_lines
from adapter_stilts.data.load import load_examples
from adapter_stilts.data.parts import Files, given_files, with_files
from adapter_stilts.display import Picture, Result, bars, scores_line
from adapter_stilts.engine.methods import LANGUAGE_METHOD
from adapter_stilts.errors import UserError, shown
from adapter_stilts.evaluation.chunk_tags import warn_of_odd_tags
from adapter_stilts.hashing import text_digest
from adapter_stilts.keywords import checks_keywords, text_of
from adapter_stilts.metrics import Spread, spreads
from adapter_stilts.paths import from_here
from adapter_stilts.tasks.languages import known_language
from adapter_stilts.tasks.registry import get_task, intermediate_tasks
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.training.folders import check_free
from adapter_stilts.training.options import (
    AnyOptions,
    DataOptions,
    RunOptions,
    Settings,
    TrainingOptions,
    changes_in,
)
from adapter_stilts.training.recipe import RECIPES, Recipe
from adapter_stilts.training.spec import (
    Mixture,
    Request,
    Text,
    TextFile,
    TrainingSpec,
    check_data,
    check_method,
    check_numbers,
    check_tracker,
    choose_recipe,
    complete,
    default_folder,
    module_name,
    warn_of_other_method,
)
from adapter_stilts.zoo.choice import ALL_SEEDS, series_folders, series_name, with_seed
from adapter_stilts.zoo.provenance import named, no_rows
from adapter_stilts.zoo.record import LANGUAGE, ModuleRecord
from adapter_stilts.zoo.resolve import load


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """A trained module on disk, which is found from every folder: its `path` is a whole one.

    `record` says all that is known of it, such as `record.scores`, the dev scores in percent.
    `test_scores` are those on the file that was given as `test_file`, in percent. The object is
    accepted wherever a module is named, as in `load(trained)`.
    """

    path: Path
    record: ModuleRecord
    test_scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.absolute())

    def __fspath__(self) -> str:
        """The folder of the module: what was trained can be given wherever a module is named."""
        return str(self.path)

    def summary(self) -> str:
        """The name of the module, its dev scores, and where it lies."""
        scores = scores_line(self.record.scores) or "without scores"
        return f"{self.path.name}: dev {scores}; {from_here(self.path)}"

    def records(self) -> list[dict[str, Any]]:
        """The dev score at every evaluation of the training."""
        return [dict(each) for each in self.record.learning_curve]

    def plot(self) -> Picture:
        """The learning curve: the dev score at every evaluation.

        Raises:
            UserError: the module has no learning curve, as a merge has none.
        """
        rows = self.records()
        if not rows:
            raise UserError(f"{self.path.name} was not trained, so it has no learning curve")
        (metric,) = (name for name in rows[0] if name != "step")
        named = [{**row, "step": f"step {row['step']:,.0f}"} for row in rows]
        drawn = bars(named, label="step", value=metric, title=f"{self.path.name}: dev {metric}")
        return Picture.from_vega_lite(drawn)


@checks_keywords
def train_adapter(
    task: str | Path | TaskSpec | None = None,
    *,
    head: str | None = None,
    backbone: str | PathLike[str] = DEFAULT_BACKBONE,
    **options: Unpack[TrainingOptions],
) -> Trained:
    """Trains one module for one task on a frozen backbone and writes it to disk.

    Args:
        task: the name of an intermediate task, such as `squad`, the path of a task file, or a spec
            of your own. Without one, `head`, `train_file` and `dev_file` describe the task.
        head: the kind of head where your own files are the task, such as `classification`.
        backbone: `embedded`, a local folder, or a Hub id.
        options: see `TrainingOptions`; among them are the fields of `Recipe`, such as
            `method="lora"` or `epochs=1`.

    Returns:
        Where the module lies, and its record with dev scores.

    Raises:
        UserError: something about the arguments or the data is wrong.
        FailureError: disk or memory ran out, or the training diverged.
        InterruptedTrainingError: Ctrl-C; a checkpoint has been written.
    """
    made = _task(task, head, Settings.of(options).files)
    called = (named(task),) if task is not None else ()
    spec = TrainingSpec((made,), named=called, head=head or "")
    return train(spec, text_of(backbone), options)


def _task(task: str | Path | TaskSpec | None, head: str | None, files: Files) -> TaskSpec:
    """The task that is named, with its splits from files where some are given."""
    if task is not None and head is None:
        return with_files(get_task(task), files)
    if task is not None or head is None or not (files.get("train") and files.get("dev")):
        raise UserError(
            "name a task, or describe your own with --head, --train-file and --dev-file together; "
            "`adstilts task new` writes a task file for what these cannot say"
        )
    from adapter_stilts.own.new import task_of_files

    return task_of_files(head, {split: Path(path) for split, path in files.items() if path}).task


@checks_keywords
def train_language(
    language: str,
    text: str | Path,
    *,
    backbone: str | PathLike[str] = DEFAULT_BACKBONE,
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
    # The recipes that have a name are of no method: they leave the usual one of a language.
    usual = LANGUAGE_METHOD if recipe in RECIPES else None
    chosen = choose_recipe(recipe, {"method": options.get("method") or usual}, usual="language")
    path = Path(text).expanduser()
    if not path.exists():
        raise UserError(f"text file '{path}' is not there")
    own: RunOptions = {**options, "recipe": chosen, "method": None}
    return train(TrainingSpec((_language_task(code),), text=path), text_of(backbone), own)


def _language_task(code: str) -> TaskSpec:
    """Telling the masked words of a language, as a task."""
    return TaskSpec(
        name=f"{LANGUAGE}{code}",
        title=f"raw text ({code})",
        head="text",
        metric="accuracy",
        sources=(),
        to_example=no_rows,
        licence="unknown",
        citation="",
        sizes={},
        language=code,
    )


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
    """Tasks by what a command calls them, in order; refuses one alone, twice, or unknown."""
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
    """The text in every `.txt` file of a folder, by name; refuses none, and empty ones."""
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


def train(spec: TrainingSpec, backbone: str, options: AnyOptions) -> Trained:
    """Trains what a spec says, as `train_adapter`, `train_target` and the like make theirs."""
    settings = Settings.of(options)
    chosen = check_recipe(spec, options)
    warn_of_other_method(settings.recipe, options.get("method"))
    name = module_name(spec, chosen.method)
    may = {"resume": settings.resume, "overwrite": settings.overwrite}
    if settings.out:
        check_free(Path(settings.out), **may)
    found = find_backbone(backbone)
    folder = Path(settings.out or default_folder(found, name, spec.on, settings.seed))
    asked = Request(spec, complete(chosen, spec, found), found, name, folder, settings)
    for each in {folder, *series_folders(folder, settings.seed, settings.series)}:
        check_free(each, **may)
    for split in given_files(spec.tasks[0]):
        warn_of_odd_tags(spec.tasks[0], split, settings.data)
    if settings.test_file:  # what is wrong with it is said before anything is trained
        load_examples(spec.tasks[0], "test", settings.data)
    from adapter_stilts.training.execute import execute  # seconds of imports: nothing is wrong

    record = execute(asked)
    if not settings.test_file:
        return Trained(folder, record)
    return Trained(folder, record, test_scores(folder, spec.tasks[0], settings.data))


def check_recipe(spec: TrainingSpec, options: AnyOptions) -> Recipe:
    """The recipe of a training; refuses all that is wrong without knowing the backbone."""
    settings = Settings.of(options)
    chosen = choose_recipe(settings.recipe, changes_in(options))
    check_numbers(seed=settings.seed, limit=settings.limit, dev_limit=settings.dev_limit)
    check_tracker(settings.report_to)
    check_method(spec, chosen.method, module_name(spec, chosen.method))
    check_data(spec, settings.data, test=bool(settings.test_file))
    return chosen


def test_scores(folder: Path, task: TaskSpec, data: str | None) -> dict[str, float]:
    """A module's official scores in percent on its task's test split; refuses unlabelled rows."""
    examples = load_examples(task, "test", data).examples
    return load(folder).score(examples.to_list())


@dataclass(frozen=True, repr=False)
class Series(Result):
    """What `train_seeds` made: `trained` has one `Trained` for every seed, in their order."""

    trained: Mapping[int, Trained]

    @property
    def name(self) -> str:
        """What stands for all of them in a composition, as `squad-s*`."""
        seed, first = next(iter(self.trained.items()))
        return series_name(first.path, seed) + ALL_SEEDS

    @property
    def scores(self) -> dict[str, Spread]:
        """The mean of every dev score, and its standard deviation over the seeds."""
        return spreads([each.record.scores for each in self.trained.values()])

    def summary(self) -> str:
        """The name that stands for all seeds, and the mean of every score."""
        scores = ", ".join(f"{metric} {each}" for metric, each in self.scores.items())
        return f"{self.name}: dev {scores} (seeds {', '.join(map(str, self.trained))})"

    def records(self) -> list[dict[str, Any]]:
        """A row a seed, with its dev scores."""
        return [
            {"seed": seed, "module": each.path.name, **each.record.scores}
            for seed, each in self.trained.items()
        ]

    def plot(self) -> Picture:
        """The dev score of every seed."""
        metric = next(iter(self.scores))
        rows = [{**record, "seed": f"seed {record['seed']}"} for record in self.records()]
        return Picture.from_vega_lite(bars(rows, label="seed", value=metric, title=self.summary()))


def train_seeds(
    train: Callable[..., Trained], *given: Any, seeds: Sequence[int], **options: Any
) -> Series:
    """Trains with one seed after the other; every module has its own folder.

    The module of seed 0 lies at `NAME`, those of others at `NAME-sSEED`; given `out`, at `OUT` and
    `OUT-sSEED`. Interrupted, the same call with `resume=True` goes on where it stopped.

    Args:
        train: `train_adapter`, `train_target`, `fuse` or `train_multitask`.
        given, options: what it takes.
        seeds: at least one, none of them twice.

    Raises:
        UserError: as of `train`; no seed, one that cannot be, or one twice.
    """
    if not callable(train):
        raise UserError(f"train_seeds(): {shown(train)} is no function such as train_adapter")
    listed = isinstance(seeds, Iterable) and not isinstance(seeds, str)
    seeds = list(seeds) if listed else seeds
    whole = listed and all(isinstance(x, Integral) and not isinstance(x, bool) for x in seeds)
    if seeds and not whole:
        raise UserError(f"seeds {shown(seeds)}: a list of whole numbers was expected, as [0, 1, 2]")
    if not seeds:
        raise UserError("seeds: name some, such as 0,1,2")
    seeds = list(map(int, seeds))
    for place, seed in enumerate(seeds):
        check_numbers(seed=seed, limit=None, dev_limit=None)
        if seed in seeds[:place]:
            raise UserError(f"seeds: {seed} is given twice")
    out = options.pop("out", None)
    made: dict[int, Trained] = {}
    for seed in seeds:
        folder = None if out is None else Path(out).with_name(with_seed(Path(out).name, seed))
        later = [each for each in seeds if each not in made]
        made[seed] = train(*given, **options, seed=seed, out=folder, series=later)
    return Series(made)


def parse_seeds(text: str) -> list[int]:
    """Seeds as they are written on a command line, `0,1,2`; refuses all but numbers and commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 10 for part in parts):
        raise UserError(f"seeds '{text}': numbers with commas between, such as 0,1,2")
    return [int(part) for part in parts]
