"""The keys of a study's YAML file, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from adapter_stilts.errors import UserError
from adapter_stilts.safety import is_line
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.yaml_files import Lines

ArmKind = Literal[
    "alone",
    "alone-longer",
    "singles",
    "as-is",
    "fusion-full",
    "fusion-lean",
    "multitask",
    "merged",
    "uniform",
    "arrow",
]


def _distinct(values: list[Any]) -> list[Any]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"{value} is given twice")
    return values


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}", text):
        raise ValueError(
            "1 to 81 letters, digits, - and _ are expected, no - or _ at the beginning"
        )
    return text


def _one_line(text: str) -> str:
    if not (text.strip() and is_line(text)):
        raise ValueError("one line was expected, not empty, without characters that are not shown")
    return text


Positive = Annotated[int, Field(gt=0, le=1 << 40)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
SeedList = Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
Rate = Annotated[float, Field(ge=1e-9, lt=10)]
Rates = Annotated[list[Rate], Field(min_length=1), AfterValidator(_distinct)]
Place = Annotated[str, Field(max_length=4096), AfterValidator(_one_line)]
"""A folder or a name."""
Layer = Annotated[int, Field(ge=0, le=200)]
Name = Annotated[str, AfterValidator(_name)]
Names = Annotated[list[str], Field(min_length=1)]
Title = Annotated[str, Field(max_length=80), AfterValidator(_one_line)]
ArmName = Annotated[str, Field(min_length=1, max_length=200)]
EACH_TASK: tuple[ArmKind, ...] = ("singles", "as-is")
"""Arms of which every intermediate task has one."""
LONGER: ArmKind = "alone-longer"
"""The control for mere quantity."""
GROUPS = ("all", "xtreme", "xtreme-r")
"""What `langs` can name besides languages."""
TRAIN = "train"
"""As a module: it is trained by the study."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    short: ClassVar[str] = ""
    """The key that a text alone stands for."""

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return {cls.short: value} if cls.short and isinstance(value, str) else value


class Test(_Part):
    """A target task and the split that it is tested on. A task's name alone is one, too.

    Attributes:
        task: the target task, such as `xnli`.
        split: the part of its data that is scored, `test` or `dev`.
        items: so many items of every language are tested, or `all`; by default `test_items` of the
            study.
    """

    short: ClassVar[str] = "task"
    task: str
    split: Literal["test", "dev"] = "test"
    items: Positive | Literal["all"] | None = None


class TargetPart(Test):
    """A target: a task that is trained and tested.

    Attributes:
        also: other tests of what is trained, such as the test sets of another task.
        train_rows: every arm learns this target from so many rows; by default `train_rows` of the
            budget.
        choose_on: the English rows that choose rates and arms: `dev`, one half for each; `whole`,
            all of dev for both, where it is too small for halves; or, where dev is what is
            tested, `train`: rows of train that the training has not drawn.
        layer: for retrieval, the layer that sentence vectors come from.
    """

    also: list[Test] = []
    train_rows: Positive | None = None
    choose_on: Literal["dev", "whole", "train"] = "dev"
    layer: Layer | None = None

    @property
    def tests(self) -> list[tuple[tuple[str | int, ...], Test]]:
        """All that it is tested on, each with its keys in the target's part of the file."""
        return [((), self), *((("also", j), each) for j, each in enumerate(self.also))]


class SourcePart(_Part):
    """An intermediate task. A task's name alone is one, too.

    Attributes:
        task: the intermediate task, such as `squad`.
        module: where its module comes from, if not as `sources` says: `train`, or what finds a
            module, such as a folder or a name like `embedded/squad`.
    """

    short: ClassVar[str] = "task"
    task: str
    module: Place | None = None


class ArmSeeds(_Part):
    """Seeds of one arm, where they are not those of the study.

    Attributes:
        intermediate: the seeds of the intermediate modules.
        target: the seeds of the target's trainings, each on top of each of those modules.
    """

    intermediate: SeedList | None = None
    target: SeedList | None = None


class Further(_Part):
    """More seeds of the target for a few of `singles`.

    Attributes:
        best: so many of the singles get them: those that English dev ranks first.
        target: the seeds.
    """

    best: Positive
    target: SeedList


class ArmPart(_Part):
    """One option that is compared. The name of an arm alone is one, too.

    Attributes:
        arm: `alone` (no intermediate module), `alone-longer` (the same with the steps and rows of
            both stages), `singles` (on each intermediate module), `as-is` (each intermediate module
            itself), `fusion-full` and `fusion-lean` (a fusion of all), `multitask` (one module for
            all intermediate tasks), `merged` (weights are searched), `uniform` (the mean of all) or
            `arrow` (LoRAs are chosen by each token).
        steps: a number of steps of its own; it needs `--unequal`.
        train_rows: a number of rows of its own; it needs `--unequal`.
        seeds: seeds of its own.
        further: of `singles`, more seeds for the best of them.
        longer_by: of `alone-longer`, so many more steps than the other arms have; by default those
            of the intermediate task whose module was trained for most steps.
        module: of `multitask`, what finds its module; `train` trains one.
    """

    short: ClassVar[str] = "arm"
    arm: ArmKind
    steps: Positive | None = None
    train_rows: Positive | None = None
    seeds: ArmSeeds | None = None
    further: Further | None = None
    longer_by: Positive | None = None
    module: Place | None = None

    @property
    def unequal(self) -> bool:
        """Whether it is trained for another time, or on other rows, than the study says."""
        return self.steps is not None or self.train_rows is not None


class Budget(_Part):
    """What every arm has, and what every intermediate module has.

    Attributes:
        steps: the optimizer steps of a target's training.
        train_rows: the rows of the target that every arm learns from; by default all.
        intermediate_steps: the steps of an intermediate module's training.
        intermediate_rows: the rows that an intermediate module learns from; by default all.
        intermediate_lr: the learning rate of the intermediate modules; by default the recipe's.
    """

    steps: Positive
    train_rows: Positive | None = None
    intermediate_steps: Positive = 300
    intermediate_rows: Positive | None = None
    intermediate_lr: Rate | None = None


class Seeds(_Part):
    """The seeds of both stages: every target's training is done on every module below.

    Attributes:
        intermediate: the seeds of the intermediate modules.
        target: the seeds of the target's trainings.
    """

    intermediate: SeedList = [0]
    target: SeedList = [0]

    def of(self, arm: ArmPart) -> Seeds:
        """Those of an arm."""
        own = arm.seeds or ArmSeeds()
        return Seeds(
            intermediate=own.intermediate or self.intermediate, target=own.target or self.target
        )


class ContrastSpec(_Part):
    """A question, declared before the first run: by how much is one arm better than another?

    `first` and `second` are names of arms, as records have them: `singles` for the one of them that
    English dev chooses, `singles:squad` for that one; where they vary, with what is below
    (`alone lang:en`), the language learnt from (`alone from de`) and the method (`alone [lora]`).
    Where a study has several methods, a name without one stands for all of them, of which English
    dev chooses one, too.

    Attributes:
        name: what the question is called in the report.
        first: the arm that is perhaps better.
        second: the arm that it is compared with.
        primary: whether its runs are done first; several are corrected for being several (Holm).
    """

    name: Title
    first: ArmName
    second: ArmName
    primary: bool = False


class StudySpec(_Part):
    """A study: a grid of runs, and the questions that it answers.

    Attributes:
        name: what the study is called: letters, digits, `-` and `_`.
        backbone: `embedded`, a local folder, or a Hub id such as `xlm-roberta-large`.
        data: `hub`, `sample`, or a folder with official files. By default it is the folder that
            `ADSTILTS_DATA` names, or else the Hub.
        sources: `train` trains the intermediate modules, `zoo` takes them from the zoo.
        zoo: the folder of the zoo, if it is none of those that all commands look in.
        intermediate: the English tasks that each train one module, once for all arms.
        targets: the tasks that arms are compared on, in the order in which they are done.
        arms: the options that are compared.
        methods: how modules are put into the backbone, such as `bottleneck` or `lora`.
        langs: `all`, the languages of `xtreme` or `xtreme-r`, or codes.
        source_langs: the languages to learn the target in; each is an arm of its own.
        below: the language modules at the bottom, `none`, `lang:en` or `lang:*` (that of the
            language learnt from); each is an arm of its own. `as-is`, fusions, and targets without
            training take none.
        budget: what every arm has.
        rates: the learning rates among which every arm chooses its own, on English dev.
        seeds: the seeds of all arms that have none of their own.
        dev_items: so many items of English dev are used.
        test_items: so many items of every language are tested, drawn at random; by default all.
        head: `warm` starts from the head of the module below where it fits, `fresh` does not.
        precision: the precision of the frozen trunk: `auto`, `bf16` or `fp32`.
        batch_tokens: a batch has so many padded tokens at most; by default as the recipe says.
        contrasts: what is asked, before anything is run.
    """

    name: Name
    backbone: Place
    data: Place | None = None
    sources: Literal["train", "zoo"] | None = None
    zoo: Place | None = None
    intermediate: Annotated[list[SourcePart], Field(min_length=1)]
    targets: Annotated[list[TargetPart], Field(min_length=1)]
    arms: Annotated[list[ArmPart], Field(min_length=1)]
    methods: Names = ["bottleneck"]
    langs: str | Names = "all"
    source_langs: Names = ["en"]
    below: Names = ["none"]
    budget: Budget
    rates: Rates
    seeds: Seeds = Seeds()
    dev_items: Positive | None = 1000
    test_items: Positive | None = None
    head: Literal["warm", "fresh"] = "warm"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    batch_tokens: Positive | None = None
    contrasts: list[ContrastSpec] = []
    _lines: Lines = PrivateAttr(default_factory=lambda: Lines("study"))

    def with_lines(self, lines: Lines) -> StudySpec:
        """The same, of a file with these lines."""
        self._lines = lines
        return self

    def bad(self, keys: Iterable[str | int], what: object) -> UserError:
        """The error for what is wrong at that key, with the line of the file."""
        return self._lines.bad(keys, what)

    @contextmanager
    def at(self, *keys: str | int) -> Iterator[None]:
        """What is refused inside the block is told with the line of that key."""
        try:
            yield
        except UserError as error:
            raise self.bad(keys, error) from None
        except OSError as error:  # such as a name that is longer than a file's can be
            raise self.bad(keys, f"{str(error.filename)[:40]}…: {error.strerror}") from None

    @property
    def arm_names(self) -> dict[str, ArmKind]:
        """What the arms are called in records, without their tasks and methods."""
        found: dict[str, ArmKind] = {}
        for arm, below, language in product(self.arms, self.below, self.source_langs):
            found[self.arm_name(arm, below, language)] = arm.arm
        return found

    def arm_name(self, arm: ArmPart, below: str, language: str) -> str:
        """The arm, with what is below it and the language it learns from where these vary."""
        parts: list[str] = [arm.arm]
        if len(self.below) > 1:
            parts.append(below)
        if len(self.source_langs) > 1:
            parts.append(f"from {language}")
        return " ".join(parts)

    def kind_of(self, name: str) -> ArmKind | None:
        """The kind of the arm that a contrast names; None where the study has no such arm."""
        base, _, method = name.partition(" [")
        if method and method.removesuffix("]") not in self.methods:
            return None
        known = self.arm_names
        if base not in known and base.count(":"):
            base, _, task = base.rpartition(":")
            if task not in self.tasks or known.get(base) not in EACH_TASK:
                return None
        return known.get(base)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the intermediate tasks, as records have them."""
        return tuple(get_task(part.task).name for part in self.intermediate)

    @property
    def sides(self) -> list[str]:
        """What a contrast can name: arms, and of those of which every task has one, these too."""
        arms = [
            each
            for name, kind in self.arm_names.items()
            for each in (name, *(f"{name}:{task}" for task in self.tasks if kind in EACH_TASK))
        ]
        several = self.methods if len(self.methods) > 1 else ()
        return [*arms, *(f"{arm} [{method}]" for arm in arms for method in several)]

    @property
    def languages(self) -> list[str]:
        """The codes and groups of `langs`, as they are written."""
        return self.langs.split(",") if isinstance(self.langs, str) else self.langs

    def items_of(self, test: Test) -> int | None:
        """How many items of every language are tested; None for all."""
        wanted = self.test_items if test.items is None else test.items
        return None if wanted == "all" else wanted

    def module_of(self, part: SourcePart | ArmPart) -> str | None:
        """What finds a module; None where the zoo has it by the task's name, or `train`."""
        from_zoo = self.sources == "zoo" or (self.sources is None and self.zoo is not None)
        return part.module or (None if from_zoo else TRAIN)
