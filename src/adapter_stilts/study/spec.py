"""What a study's YAML file says, checked before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from adapter_stilts.data.places import bad, bad_yaml
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.errors import UserError, suggest, unknown
from adapter_stilts.tasks.registry import get_target, get_task

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


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("every seed is to be given once")
    return seeds


Positive = Annotated[int, Field(gt=0, le=1 << 40)]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
SeedList = Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
Rate = Annotated[float, Field(gt=0, lt=10)]
Module = Annotated[str, Field(min_length=1, max_length=4096)]
TRAIN = "train"
"""As a module: it is trained by the study."""
MAX_BYTES = 256 * 1024


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Test(_Part):
    """A target task and the split that it is tested on; `items` of every language, or all."""

    task: str
    split: Literal["test", "dev"] = "test"
    items: Positive | Literal["all"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"task": value} if isinstance(value, str) else value


class TargetPart(Test):
    """A target: what is trained, and what it is tested on; `train_rows` are those of every arm."""

    also: list[Test] = []
    train_rows: Positive | None = None
    choose_on: Literal["dev", "train"] = "dev"
    layer: Annotated[int, Field(ge=0, le=200)] | None = None


class SourcePart(_Part):
    """An intermediate task; `module` is where its module comes from, if not as `sources` says.

    It is `train`, or what finds a module: a folder, or a name such as `embedded/squad`.
    """

    task: str
    module: Module | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"task": value} if isinstance(value, str) else value


class ArmSeeds(_Part):
    """Seeds of one arm, where they are not those of the study; of both stages, crossed."""

    intermediate: SeedList | None = None
    target: SeedList | None = None


class Further(_Part):
    """More seeds of the target for a few of `singles`: those that English dev ranks first."""

    best: Positive
    target: SeedList


class ArmPart(_Part):
    """One option that is compared; a budget of its own needs `--unequal`."""

    arm: ArmKind
    steps: Positive | None = None
    train_rows: Positive | None = None
    seeds: ArmSeeds | None = None
    further: Further | None = None
    module: Module | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"arm": value} if isinstance(value, str) else value

    @property
    def unequal(self) -> bool:
        """Whether it is trained for another time, or on other rows, than the study says."""
        return self.steps is not None or self.train_rows is not None


class Budget(_Part):
    """What every arm has, and what every intermediate module has."""

    steps: Positive
    train_rows: Positive | None = None
    intermediate_steps: Positive = 300
    intermediate_rows: Positive | None = None
    intermediate_lr: Rate | None = None


class Seeds(_Part):
    """Of both stages; they are crossed. An arm can have its own."""

    intermediate: SeedList = [0]
    target: SeedList = [0]

    def of(self, arm: ArmPart) -> Seeds:
        """Those of an arm."""
        own = arm.seeds or ArmSeeds()
        return Seeds(
            intermediate=own.intermediate or self.intermediate, target=own.target or self.target
        )


class ContrastSpec(_Part):
    """A question, declared before the first run: by how much `first` is better than `second`.

    Both are names of arms, as records have them: `singles` for the one of them that English dev
    chooses, `singles:squad` for that one; where they vary, with what is below (`alone lang:en`),
    the language learnt from (`alone from de`) and the method (`alone [lora]`).
    """

    name: Annotated[str, Field(min_length=1, max_length=80)]
    first: Annotated[str, Field(min_length=1, max_length=200)]
    second: Annotated[str, Field(min_length=1, max_length=200)]
    primary: bool = False


class StudySpec(_Part):
    """A grid of runs. The commented file that `adstilts study new` writes explains every key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,80}$")]
    backbone: str
    data: str | None = None
    sources: Literal["train", "zoo"] | None = None
    zoo: str | None = None
    intermediate: Annotated[list[SourcePart], Field(min_length=1)]
    targets: Annotated[list[TargetPart], Field(min_length=1)]
    arms: Annotated[list[ArmPart], Field(min_length=1)]
    methods: Annotated[list[str], Field(min_length=1)] = ["bottleneck"]
    langs: str | list[str] = "all"
    source_langs: Annotated[list[str], Field(min_length=1)] = ["en"]
    below: Annotated[list[str], Field(min_length=1)] = ["none"]
    budget: Budget
    rates: Annotated[list[Rate], Field(min_length=1)]
    seeds: Seeds = Seeds()
    dev_items: Positive | None = 1000
    test_items: Positive | None = None
    head: Literal["warm", "fresh"] = "warm"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    batch_tokens: Positive | None = None
    contrasts: list[ContrastSpec] = []

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
            base, _, tasks = base.rpartition(":")
            if not {each.task for each in self.intermediate} >= set(tasks.split("+")):
                return None
        return known.get(base)

    def items_of(self, test: Test) -> int | None:
        """How many items of every language are tested; None for all."""
        wanted = self.test_items if test.items is None else test.items
        return None if wanted == "all" else wanted

    def module_of(self, part: SourcePart | ArmPart) -> str | None:
        """What finds a module; None where the zoo has it by the task's name, or `train`."""
        from_zoo = self.sources == "zoo" or (self.sources is None and self.zoo is not None)
        return part.module or (None if from_zoo else TRAIN)


def load_study(path: Path, *, unequal: bool = False) -> StudySpec:
    """Reads a study file.

    Raises:
        UserError: it is no YAML, or has an unknown key, task, language or method, named with its
            line and what is near; or arms of unequal budgets, unless `unequal`.
    """
    if not path.is_file():
        raise UserError(f"study {path} is not there: `adstilts study new {path}` writes one")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"study {path}: larger than {MAX_BYTES:,} bytes, so no study")
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise UserError(f"study {path}: aliases (`*name`) are not accepted")
        node, fields = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise bad_yaml(path, error) from None
    except (RecursionError, ValueError):
        raise UserError(f"study {path}: not UTF-8 text, or nested too deeply") from None
    if not isinstance(fields, dict):
        raise bad(path, "", "expected lines such as `backbone: embedded`")
    try:
        spec = StudySpec.model_validate(fields)
    except ValidationError as error:
        raise _refusal(path, node, error) from None
    _check_names(path, node, spec)
    _check_budgets(path, node, spec, unequal)
    return spec


def _refusal(path: Path, node: Any, error: ValidationError) -> UserError:
    found = error.errors(include_url=False)
    # A key that is mistyped is missing too: what is written is named.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    loc = [part for part in first["loc"] if part not in ("str", "list[str]")]
    place = _line(node, loc)
    if first["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        return bad(path, place, str(unknown("key", str(loc[-1]), known)))
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = get_args(ArmKind) if "arm" in loc else ()
        near = suggest(first["input"], choices)
        hint = f": did you mean '{near[0]}'?" if near else ""
        return bad(path, place, f"'{first['input']}': {first['msg']}{hint}")
    note = ""
    if first["type"] == "float_type" and isinstance(first["input"], str):
        note = " (YAML reads 1e-3 as text: write 1.0e-3)"
    return bad(path, place, f"'{'.'.join(map(str, loc))}': {first['msg']}{note}")


_KINDS: Mapping[str, type[BaseModel]] = {
    "intermediate": SourcePart,
    "targets": TargetPart,
    "also": Test,
    "further": Further,
    "arms": ArmPart,
    "budget": Budget,
    "seeds": Seeds,
    "contrasts": ContrastSpec,
}


def _known_keys(loc: list[Any]) -> list[str]:
    kind: type[BaseModel] = StudySpec
    for part in loc:
        kind = ArmSeeds if part == "seeds" and kind is ArmPart else _KINDS.get(str(part), kind)
    return list(kind.model_fields)


def _line(node: Any, loc: list[Any]) -> int:
    """The line of the value there, or of the nearest that is written."""
    line = node.start_mark.line + 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return int(line)


def _check_names(path: Path, node: Any, spec: StudySpec) -> None:
    def at(loc: list[Any], check: Any, *args: Any) -> Any:
        try:
            return check(*args)
        except UserError as error:
            raise bad(path, _line(node, loc), str(error)) from None

    for k, source in enumerate(spec.intermediate):
        at(["intermediate", k], get_task, source.task)
    _no_doubles(path, node, "intermediate", [each.task for each in spec.intermediate])
    _no_doubles(path, node, "targets", [each.task for each in spec.targets])
    for k, method in enumerate(spec.methods):
        if is_fusion(at(["methods", k], get_method, method).name):
            raise bad(path, _line(node, ["methods", k]), f"'{method}' is a fusion: name it in arms")
    from adapter_stilts.tasks.language_codes import check_language

    known: list[str] = []
    for k, target in enumerate(spec.targets):
        for j, test in enumerate([target, *target.also]):
            place = ["targets", k] if j == 0 else ["targets", k, "also", j - 1]
            found = at(place, get_target, test.task)
            known += [*found.languages, *found.others]
    written = spec.langs.split(",") if isinstance(spec.langs, str) else spec.langs
    for k, code in enumerate(written):
        if code.strip() not in ("all", "xtreme", "xtreme-r"):
            place = ["langs", k] if isinstance(spec.langs, list) else ["langs"]
            at(place, check_language, code.strip(), tuple(dict.fromkeys(known)))
    _check_arms(path, node, spec)
    _check_contrasts(path, node, spec)
    if "multitask" in [each.arm for each in spec.arms] and len(spec.intermediate) < 2:
        raise bad(path, _line(node, ["arms"]), "several tasks at once need two intermediate tasks")


def _check_arms(path: Path, node: Any, spec: StudySpec) -> None:
    if spec.zoo is not None and spec.sources == TRAIN:
        raise bad(path, _line(node, ["zoo"]), "a zoo, but 'sources: train': leave one of them out")
    for k, each in enumerate(spec.arms):
        if each.module is not None and each.arm != "multitask":
            wrong = f"'{each.arm}' has no module of its own: name it in 'intermediate', as a task's"
            raise bad(path, _line(node, ["arms", k, "module"]), wrong)
        if each.further is None:
            continue
        place = _line(node, ["arms", k, "further"])
        if each.arm != "singles":
            raise bad(path, place, "'further' is for the arm 'singles': give others their 'seeds'")
        if each.further.best > len(spec.intermediate):
            tasks = len(spec.intermediate)
            raise bad(path, place, f"the best {each.further.best} of {tasks} intermediate tasks")
        if twice := set(each.further.target) & set(spec.seeds.of(each).target):
            raise bad(path, place, f"all singles have the seed {min(twice)} already: name others")


def _check_contrasts(path: Path, node: Any, spec: StudySpec) -> None:
    for k, each in enumerate(spec.contrasts):
        for side in ("first", "second"):
            name = getattr(each, side)
            if spec.kind_of(name) is None:
                place = _line(node, ["contrasts", k, side])
                raise bad(path, place, str(unknown("arm of this study", name, spec.arm_names)))


def _no_doubles(path: Path, node: Any, key: str, names: list[str]) -> None:
    for k, name in enumerate(names):
        if name in names[:k]:
            raise bad(path, _line(node, [key, k]), f"'{name}' is given twice")


def _check_budgets(path: Path, node: Any, spec: StudySpec, unequal: bool) -> None:
    for k, each in enumerate(spec.arms):
        if each.unequal and not unequal:
            raise bad(
                path,
                _line(node, ["arms", k]),
                f"'{each.arm}' has a budget of its own, so arms would not be comparable: leave it "
                "out, or say --unequal, and every table marks it",
            )
        if each.arm in [other.arm for other in spec.arms[:k]]:
            raise bad(path, _line(node, ["arms", k]), f"'{each.arm}' is given twice")
