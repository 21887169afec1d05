"""The ways of merging, built in and of plug-ins, made by one decorator; what a merge says of parts.

The functions at the end are pure. `tensors` are one parameter of all modules, of one shape, which
the result has, too; `weights` are (modules,).

`density` is the fraction of each module's values that sparse methods keep. Signs are elected before
the weights come in, so that the result is linear in the weights. It is divided by the number of
modules that agree, which makes it a kind of mean whatever the weights are.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, get_args, overload

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.registered import Known, add, caller, check_call, place_of, summary_of

if TYPE_CHECKING:
    from torch import Tensor


Function = TypeVar("Function", bound=Callable[..., Any])
Form = Literal["sum", "linear", "any"]
OPERATORS = ("stack", "fuse", "uniform", "arrow", "none")
"""What compositions are written with besides merges: no merge method can be called so."""


@dataclass(frozen=True)
class MergeMethod:
    """A way of merging: a function of tensors, and what may be asked of it.

    Attributes:
        function: what `merge_method` was put on; the fields below are explained there.
        place: file and line of the function.
        density: the fraction of values that it keeps by default; 0 where it keeps all.
        chance: whether it draws numbers at random.
    """

    name: str
    summary: str
    function: Callable[..., Tensor]
    place: str
    density: float
    chance: bool
    mean: bool = False
    weighted: bool = True
    signed: bool = True
    averages: bool = False
    most: int | None = None
    form: Form = "any"


class MergeTraits(TypedDict, total=False):
    """What `merge_method` is told of a way of merging, and explains."""

    mean: bool
    weighted: bool
    signed: bool
    averages: bool
    most: int | None
    form: Form


_BUILT_IN: dict[str, MergeMethod] = {}


@overload
def merge_method(named: Function) -> Function: ...
@overload
def merge_method(
    named: str | None = None, **traits: Unpack[MergeTraits]
) -> Callable[[Function], Function]: ...
def merge_method(
    named: str | Callable[..., Tensor] | None = None, **traits: Unpack[MergeTraits]
) -> Any:
    """Makes a function of tensors a way of merging, to be used as `NAME(squad, mnli)`.

    The function gets a list of tensors of one shape and the weights, one each, and returns one
    tensor of that shape. A keyword `density` with a default makes that an option; a keyword
    `seed` is a number for what is drawn at random. It is called once for each tensor of the
    modules, of LoRAs for the products of their factors.

    Args:
        named: the name, by default the function's.
        mean: weights are made to add up to 1.
        weighted: whether weights can be given.
        signed: whether weights may be below 0.
        averages: the function divides by the number of modules itself, so that weights of 1
            each make a mean.
        most: the largest number of modules, if there is one.
        form: `sum` where the result is the weighted sum of the tensors, `linear` where it is
            linear in the weights: then it is computed once for each module, and a search over
            weights is fast.

    Raises:
        UserError: the name is taken, or a keyword is unknown.
    """
    for trait in traits:
        if trait not in MergeTraits.__annotations__:
            wrong = unknown("keyword of merge_method()", trait, MergeTraits.__annotations__)
            raise UserError(f"{caller()}: {wrong}")

    def decorate(function: Function, name: str | None = None) -> Function:
        method = MergeMethod(
            name or function.__name__.replace("_", "-"),
            summary_of(function) or "a merge method of a plug-in",
            function,
            place_of(function),
            _density(function),
            "seed" in inspect.signature(function).parameters,
            **traits,
        )
        if function.__module__ == __name__:
            _BUILT_IN[method.name] = method
        else:
            _check(method)
            own = method.name if method.name in {*built_in_merges(), *OPERATORS} else ""
            add("merge method", method.name, method, method.place, own=own)
        return function

    if callable(named):
        return decorate(named)
    return lambda function: decorate(function, named)


def _check(method: MergeMethod) -> None:
    """Refuses a plug-in's function that could not be called, and options that cannot be."""
    check_call(method.function, method.place, "tensors and weights")
    if method.form not in get_args(Form):
        raise UserError(f"{method.place}: {unknown('form', method.form, get_args(Form))}")
    if method.most is not None and method.most < 2:
        raise UserError(f"{method.place}: most={method.most}: a merge has two modules or more")


def _density(function: Callable[..., Any]) -> float:
    """The default of a keyword `density`; 0 without one."""
    keyword = inspect.signature(function).parameters.get("density")
    if keyword is None:
        return 0.0
    usual = keyword.default
    if isinstance(usual, bool) or not isinstance(usual, int | float) or not 0 < usual <= 1:
        raise UserError(f"{place_of(function)}: 'density' needs a default above 0 and up to 1")
    return float(usual)


@cache
def built_in_merges() -> Mapping[str, MergeMethod]:
    """The package's own ways of merging by name, in alphabetical order."""
    return dict(sorted(_BUILT_IN.items()))


MERGES = Known("merge method", built_in_merges)
"""The package's ways of merging and those of plug-ins."""


def get_merge(name: str) -> MergeMethod:
    """The way of merging of that name; refuses an unknown one."""
    return MERGES.find("way of merging", name)


LORA_WAYS = ("products", "factors")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Terms:
    """What is written in a merge's brackets besides the modules.

    Attributes:
        weights: one for every module; none for the method's own.
        density: the fraction of values that sparse methods keep; 0 for the method's own.
        lora: whether LoRAs are merged by their products or by their factors.
        rank: of a merged LoRA; 0 for the largest of its sources.
        seed: of what is dropped at random.
    """

    weights: tuple[float, ...] = ()
    density: float = 0.0
    lora: str = "products"
    rank: int = 0
    seed: int = 0

    def options(self) -> tuple[str, ...]:
        """The terms that are written after the modules: those that are not as by default."""
        pairs = (
            ("density", number(self.density), self.density != 0),
            ("lora", self.lora, self.lora != "products"),
            ("rank", str(self.rank), self.rank != 0),
            ("seed", str(self.seed), self.seed != 0),
        )
        return tuple(f"{name}={value}" for name, value, given in pairs if given)

    def in_order(self, order: Sequence[int]) -> Terms:
        """The same terms for parts in another order."""
        return replace(self, weights=tuple(self.weights[place] for place in order if self.weights))


def number(value: float) -> str:
    """The shortest text of a number that reads as the same number.

    >>> number(1.0), number(0.3)
    ('1', '0.3')
    """
    return repr(float(value)).removesuffix(".0")


def read_options(given: Mapping[str, str]) -> Terms:
    """Terms from `density=0.3` and the like; refuses other options, and what is no number."""
    found: dict[str, Any] = {}
    for name, text in given.items():
        if name == "lora":
            found[name] = text
        elif name == "density" and NUMBER.fullmatch(text):
            found[name] = check_density(float(text))
        elif name in ("rank", "seed") and re.fullmatch(r"\d{1,9}", text):
            found[name] = int(text)
        elif name in ("density", "rank", "seed"):
            raise UserError(f"{name} is a number, not '{text}'")
        else:
            raise unknown("option of a merge", name, ("density", "lora", "rank", "seed"))
    return Terms(**found)


def check_density(value: float) -> float:
    """The fraction of values that are kept; refuses what is no fraction, or nothing."""
    if not 0 < value <= 1:
        raise UserError(f"density lies above 0 and up to 1, not at {number(value)}")
    return value


def check_terms(method: MergeMethod, terms: Terms, count: int) -> Terms:
    """The terms of a merge of `count` modules in their one form, without defaults.

    Refuses too many modules, weights that do not fit, and an option that says nothing here.
    """
    name = method.name
    if count < 2:
        raise UserError(f"{name} needs at least 2 modules, not {count}")
    if method.most and count > method.most:
        raise UserError(f"{name} merges {method.most} modules, not {count}")
    if terms.lora not in LORA_WAYS:
        raise unknown("way of merging LoRAs", terms.lora, LORA_WAYS)
    if terms.lora == "factors" and terms.rank:
        raise UserError("factors keep the rank of their modules: rank goes with lora=products")
    if terms.density and not method.density:
        raise UserError(f"{name} keeps all values: density goes with {_with('density')}")
    if terms.seed and not method.chance:
        raise UserError(f"{name} leaves nothing to chance: seed goes with {_with('chance')}")
    density = check_density(terms.density) if terms.density else 0.0
    return replace(
        terms,
        weights=_check_weights(method, terms.weights, count),
        density=0.0 if density == method.density else density,
    )


def _with(trait: str) -> str:
    """The merge methods that have a trait, for a message."""
    return " and ".join(name for name, method in MERGES.items() if getattr(method, trait))


def _check_weights(
    method: MergeMethod, weights: tuple[float, ...], count: int
) -> tuple[float, ...]:
    if not weights:
        return ()
    if not method.weighted:
        raise UserError(f"{method.name} has no weights: linear is the weighted mean")
    if len(weights) != count:
        raise UserError(f"{len(weights)} weights for {count} modules")
    if not all(map(math.isfinite, weights)):
        raise UserError("weights must be finite numbers")
    if not any(weights):
        raise UserError("all weights are 0: nothing would be left")
    if method.mean and abs(sum(weights)) < 1e-6 * max(map(abs, weights)):
        raise UserError(f"{method.name}: weights that add up to 0 have no mean")
    if not method.signed and min(weights) < 0:
        raise UserError(f"{method.name} goes between modules: its weights are not below 0")
    usual = len(set(weights)) == 1 and (method.mean or weights[0] == 1)
    return () if usual else weights


def least_budget(count: int) -> int:
    """Evaluations that one generation needs, with that of the start."""
    return 5 + int(3 * math.log(count))


def full_weights(method: MergeMethod, terms: Terms, count: int) -> tuple[float, ...]:
    """The weights that count: as given, or the method's own; those of a mean add up to 1."""
    weights = terms.weights or (1.0,) * count
    total = sum(weights) if method.mean else 1.0
    return tuple(weight / total for weight in weights)


@merge_method(form="sum", mean=True, weighted=False)
def average(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The mean of the modules."""
    return task_arithmetic(tensors, weights)


@merge_method(form="sum", mean=True)
def linear(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """A weighted mean: weights are made to add up to 1."""
    return task_arithmetic(tensors, weights)


@merge_method(form="sum")
def task_arithmetic(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """A weighted sum (Ilharco et al. 2023).

    "Editing Models with Task Arithmetic", arXiv:2212.04089.
    """
    from peft.utils import merge_utils

    merged: Tensor = merge_utils.task_arithmetic(list(tensors), weights)
    return merged


@merge_method(form="linear", averages=True)
def ties(tensors: Sequence[Tensor], weights: Tensor, *, density: float = 0.5) -> Tensor:
    """Only the largest values, and of these only the majority's sign (Yadav et al. 2023).

    "TIES-Merging: Resolving Interference When Merging Models", arXiv:2306.01708.
    """
    from peft.utils import merge_utils

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a density of 1 drops nothing
        merged: Tensor = merge_utils.ties(list(tensors), weights, density)
    return merged


@merge_method(form="linear", averages=True)
def dare_ties(
    tensors: Sequence[Tensor], weights: Tensor, *, density: float = 0.5, seed: int = 0
) -> Tensor:
    """TIES over values dropped at random and rescaled (Yu et al. 2024).

    "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch",
    arXiv:2311.03099.
    """
    import torch
    from peft.utils import merge_utils

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a density of 1 drops nothing
        torch.manual_seed(seed)
        merged: Tensor = merge_utils.dare_ties(list(tensors), weights, density)
    return merged


@merge_method(mean=True, most=2, signed=False)
def slerp(tensors: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Two modules along the arc between them.

    The tensors are taken as vectors; the weights say how far from the first to the second.
    Direction and length are interpolated apart, and two (nearly) parallel tensors linearly
    (Shoemake 1985, "Animating Rotation with Quaternion Curves").
    """
    first, second = (tensor.double() for tensor in tensors)
    place = float(weights[1] / weights.sum())
    lengths = first.norm(), second.norm()
    straight = first.lerp(second, place)
    if min(lengths) == 0:
        return straight
    angle = (first / lengths[0] * (second / lengths[1])).sum().clamp(-1.0, 1.0).acos()
    if angle.sin() < 1e-6:
        return straight
    direction = (
        ((1 - place) * angle).sin() * first / lengths[0]
        + (place * angle).sin() * second / lengths[1]
    ) / angle.sin()
    merged: Tensor = direction * lengths[0].lerp(lengths[1], place)
    return merged
