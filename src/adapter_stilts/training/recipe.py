"""The hyper-parameters of a training, and its usual learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from adapter_stilts.engine.methods import DEFAULT_METHOD, LANGUAGE_METHOD, MethodOptions, get_method
from adapter_stilts.errors import UserError, shown, unknown
from adapter_stilts.keywords import unknown_keyword
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.yaml_files import read_yaml

Unfreeze = Literal["top-down", "none"]
Keep = Literal["best", "last", "mean"]
Activations = Literal["kept", "recomputed", "offloaded"]

Precision = Literal["auto", "bf16", "fp32"]

Count = Annotated[int, Field(ge=0)]
Some = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

PASSES = 3.0
"""Passes over the training data where neither `epochs` nor `steps` are given."""
MOST_PASSES = 25.0
"""So many at most where three make too few steps (as the help of `epochs` says)."""


def _check_method(method: str) -> str:
    get_method(method)
    return method


def _layers(value: Any) -> Any:
    """One spelling of equal values: a run's identity is a hash of the recipe."""
    if isinstance(value, tuple):
        return value
    return parse_layers(value if isinstance(value, list) else str(value))


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Recipe:
    """Everything that decides a training besides task, data, backbone and seed.

    The command line prints what stands here as the help of its options.

    Attributes:
        method: the kind of module: `bottleneck` (the usual one), `double-bottleneck`,
            `parallel-bottleneck`, `lora`, `lora-all`, `dora`, `ia3`, `invertible`,
            `double-invertible`, or `head` (no module, a probe).
        epochs: passes over the training data, which may be a fraction; 0 takes three, or as many
            more (25 in all) as make `min_steps`.
        steps: optimizer steps, in however many passes; 0 takes as many as `epochs` make.
        min_steps: fewer optimizer steps are made only where `epochs` or `steps` ask for them.
        lr: the peak learning rate; 0 takes the method's own.
        batch_tokens: a batch has so many padded tokens at most.
        batch_examples: a batch has so many examples at most; with short texts there would be too
            few steps.
        accumulate: so many batches make one optimizer step.
        max_length: a sequence has so many tokens at most; 0 takes the task's own number.
        stride: the tokens by which windows over long contexts overlap.
        warmup: the fraction of the steps in which the learning rate rises; it falls after that.
        weight_decay: the weight decay of AdamW, on matrices of module and head.
        max_grad_norm: gradients are clipped to this norm.
        unfreeze: with `top-down`, lower layers start to learn later; with `none`, all layers learn
            from the start.
        unfreeze_fraction: the fraction of the steps after which all layers learn.
        leave_out: layers without a module, counted from 0 at the bottom, such as 0-5 or 0-5,11.
        reduction_factor: the hidden size divided by the size of the bottleneck; 0 takes the
            method's own.
        rank: the rank of a LoRA; 0 takes the method's own.
        alpha: the alpha of a LoRA, whose update counts alpha/rank; 0 takes the method's own.
        head_dropout: the dropout before the linear layers of the head.
        evaluations: so many times the dev data is scored during a training; the last time is at
            its end.
        keep: which weights become the module's: the `best` by English dev, the `last`, or the
            `mean` of those at the last evaluations.
        average_last: so many evaluations are averaged where `keep` is `mean`.
        patience: evaluations without a better score before the training stops early; 0 never
            stops it early.
        precision: the precision of the frozen trunk: `auto`, `bf16` or `fp32`.
        activations: whether they are `kept` for the backward pass, or `recomputed` from what goes
            into each layer, which takes less memory and more time; `offloaded` also keeps that in
            the machine's memory and the words on disk where a GPU computes. The result is the same.

    Raises:
        UserError: a value of another type, or one that cannot be.
        UnknownKeywordError: a recipe has no such field.
    """

    method: Annotated[str, AfterValidator(_check_method)] = DEFAULT_METHOD
    epochs: Amount = 0.0
    steps: Count = 0
    min_steps: Count = 300
    lr: Amount = 0.0
    batch_tokens: Some = 4096
    batch_examples: Some = 32
    accumulate: Some = 1
    max_length: Count = 0
    stride: Count = 128
    warmup: Share = 0.06
    weight_decay: Amount = 0.01
    max_grad_norm: Amount = 1.0
    unfreeze: Unfreeze = "none"
    unfreeze_fraction: Share = 0.5
    leave_out: Annotated[tuple[int, ...], BeforeValidator(_layers)] = ()
    reduction_factor: Count = 0
    rank: Count = 0
    alpha: Count = 0
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    evaluations: Some = 8
    keep: Keep = "best"
    average_last: Some = 3
    patience: Count = 3
    precision: Precision = "auto"
    activations: Activations = "kept"

    @model_validator(mode="wrap")
    @classmethod
    def _complaint(cls, values: Any, checked: Any) -> Any:
        try:
            return checked(values)
        except ValidationError as error:
            raise _of_field(error) from None

    def __repr__(self) -> str:
        """What differs from the default recipe."""
        changed = (
            f"{each.name}={getattr(self, each.name)!r}"
            for each in dataclasses.fields(self)
            if getattr(self, each.name) != each.default
        )
        return f"Recipe({', '.join(changed)})"

    @property
    def shape(self) -> MethodOptions:
        """The module's shape as the method takes it."""
        return MethodOptions(
            reduction_factor=self.reduction_factor or None,
            rank=self.rank or None,
            alpha=self.alpha or None,
            leave_out=self.leave_out,
        )

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some values changed; None leaves a value as it is."""
        given = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **given)


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields as JSON has them."""
    return {**dataclasses.asdict(recipe), "leave_out": list(recipe.leave_out)}


def _of_field(error: ValidationError) -> UserError:
    """What is wrong with the first field that is."""
    first = error.errors(include_url=False)[0]
    name, given = str(first["loc"][0]), first["input"]
    known = [each.name for each in dataclasses.fields(Recipe)]
    if name not in known:
        return unknown_keyword("Recipe", name, known)
    kind = get_type_hints(Recipe)[name]
    if get_origin(kind) is Literal and isinstance(given, str):
        return unknown(name, given, get_args(kind))
    return UserError(f"recipe: {name.replace('_', '-')}: {first['msg']}, not {shown(given)}")


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "default": Recipe(),
        "top-down": Recipe(unfreeze="top-down"),
        "demo": Recipe(epochs=4, batch_tokens=2048, evaluations=4, patience=0),
        # Long texts fill the usual budget with too few examples for a fusion.
        "fusion": Recipe(batch_tokens=8192, evaluations=4),
        # Lines are short: with as few as of other tasks, steps would have a few hundred tokens.
        "language": Recipe(method=LANGUAGE_METHOD, batch_examples=128),
    }
)


def get_recipe(name: str, usual: str = "default") -> Recipe:
    """A named recipe, or one read from a YAML file of recipe fields (`base` names a start).

    `usual` is what `default` stands for, and what a file without `base` starts from. Refuses
    unknown names and fields, and wrong types.
    """
    if name == "default":
        return RECIPES[usual]
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("recipe", name, RECIPES)
    if not path.is_file():
        raise UserError(f"recipe file {name} is not there")
    fields, _ = read_yaml(path, "epochs: 3", where=f"recipe {name}")
    base = RECIPES.get(str(fields.pop("base", usual)))
    if base is None:
        raise UserError(f"recipe {name}: base must be one of {', '.join(RECIPES)}")
    changes = {str(key).replace("-", "_"): value for key, value in fields.items()}
    known = {field.name for field in dataclasses.fields(Recipe)}
    try:
        for field in changes:
            if field not in known:
                raise unknown("field", field, known)
        return dataclasses.replace(base, **changes)
    except UserError as error:
        raise UserError(f"recipe {name}: {str(error).removeprefix('recipe: ')}") from None


def parse_layers(text: str | list[Any]) -> tuple[int, ...]:
    """Layer numbers from `0-5,11` or a list; refuses all but numbers and ranges."""
    parts = [str(part) for part in text] if isinstance(text, list) else text.split(",")
    layers: set[int] = set()
    for part in filter(None, (p.strip() for p in parts)):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isdecimal() and len(end) <= 3 for end in ends) or int(ends[1]) < int(first):
            raise UserError(f"leave-out: '{part}' is not a layer number or a range such as 0-5")
        layers.update(range(int(first), int(ends[1]) + 1))
    return tuple(sorted(layers))


LAYERS, WIDTH = 12, 384
"""The shape of the backbone that the sweep was made on."""

Steps = tuple[tuple[int, float], ...]
"""Peak rates, each up to a number of optimizer steps."""

ANY = 10**9

_RATES: Mapping[str, Steps] = MappingProxyType(
    {
        "bottleneck": ((2000, 3e-3), (ANY, 1e-3)),
        "bottleneck, tagging": ((200, 1e-2), (2000, 3e-3), (ANY, 1e-3)),
        # At 3e-3, in 300 steps, XNLI loses 11 to 25 points over five of nine modules.
        "bottleneck, classification": ((100, 3e-3), (ANY, 1e-3)),
        # 3e-3 did well in seven trainings of 500 to 1,700 steps and lost all in two, of qqp and
        # cosmos-qa (docs/results/zoo.md), so longer ones begin lower.
        "lora": ((300, 3e-3), (ANY, 1e-3)),
        "lora, tagging": ((300, 1e-2), (2000, 3e-3), (ANY, 1e-3)),
        "head": ((300, 1e-1), (ANY, 3e-2)),
        "fusion-full": ((200, 3e-3), (2000, 1e-3), (ANY, 3e-4)),
        "fusion-lean": ((100, 1e-1), (300, 3e-2), (ANY, 1e-2)),
        "fusion-lean, LoRAs": ((100, 1e-1), (ANY, 3e-2)),
        # Not in the sweep: adapters that begin inside the embeddings, and scalings (Liu et al.
        # 2022 take 3e-3 for models of 3 and 11 billion parameters).
        "invertible": ((ANY, 5e-4),),
        "ia3": ((ANY, 1e-2),),
    }
)
_LIKE = MappingProxyType(
    {
        "double-bottleneck": "bottleneck",
        "parallel-bottleneck": "bottleneck",
        "double-invertible": "invertible",
        "lora-all": "lora",
        "dora": "lora",
        "fusion-uniform": "head",
        "fusion-arrow": "head",
        "fusion-shared": "fusion-lean",
    }
)
"""Methods that the sweep lacks, and the one of which they are a kind."""


def usual_rate(
    method: str,
    steps: int,
    *,
    head: HeadKind | None = None,
    over_loras: bool = False,
    layers: int = LAYERS,
    width: int = WIDTH,
) -> float:
    """The peak learning rate of AdamW for a training of so many optimizer steps.

    In a wider or deeper backbone than the sweep's it falls as 1/width (Yang et al. 2022, arXiv
    2203.03466) and as 1/sqrt(layers) (Yang et al. 2023, arXiv 2310.02244). That is argued, not
    measured; for XLM-R Large it gives bottleneck adapters 8e-4 in up to 2,000 steps and 2.7e-4
    in more, within what is published for them on XLM-R Base (1e-4 to 8e-4).

    Args:
        method: as `get_method` takes it.
        steps: optimizer steps of the whole training.
        head: kind of the one head that learns with it; None where there are several.
        over_loras: whether it fuses LoRAs, whose keys are small: attention over them moves slowly.
        layers, width: shape of the backbone.

    Raises:
        UserError: there is no such method.

    >>> usual_rate("bottleneck", 500)
    0.003
    """
    found = get_method(method)
    kind = found.rates_of or _LIKE.get(found.name, found.name)
    kind = _LIKE.get(kind, kind)
    special = f"{kind}, LoRAs" if over_loras else f"{kind}, {head}"
    rates = _RATES.get(special, _RATES[kind])
    rate = next((rate for most, rate in rates if steps <= most), rates[-1][1])
    shape = min(1.0, WIDTH / width) * min(1.0, LAYERS / layers) ** 0.5
    return float(f"{rate * shape:.2g}")
