"""The ways of merging: the built-in ones, and those of plug-ins, made by one decorator."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, overload

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.registered import Known, add, check_call, place_of, summary_of

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
    mean: bool
    weighted: bool
    signed: bool
    averages: bool
    most: int | None
    form: Form
    density: float
    chance: bool


_METHODS = "adapter_stilts.merging.methods"
"""The file of the built-in ones."""
_BUILT_IN: dict[str, MergeMethod] = {}


@overload
def merge_method(named: Function) -> Function: ...
@overload
def merge_method(
    named: str | None = None,
    *,
    mean: bool = ...,
    weighted: bool = ...,
    signed: bool = ...,
    averages: bool = ...,
    most: int | None = ...,
    form: Form = ...,
) -> Callable[[Function], Function]: ...
def merge_method(
    named: str | Callable[..., Tensor] | None = None,
    *,
    mean: bool = False,
    weighted: bool = True,
    signed: bool = True,
    averages: bool = False,
    most: int | None = None,
    form: Form = "any",
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
        UserError: the name is taken.
    """

    def decorate(function: Function, name: str | None = None) -> Function:
        method = MergeMethod(
            name or function.__name__.replace("_", "-"),
            summary_of(function) or "a merge method of a plug-in",
            function,
            place_of(function),
            mean=mean,
            weighted=weighted,
            signed=signed,
            averages=averages,
            most=most,
            form=form,
            density=_density(function),
            chance="seed" in inspect.signature(function).parameters,
        )
        if function.__module__ == _METHODS:
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
    importlib.import_module(_METHODS)
    return dict(sorted(_BUILT_IN.items()))


MERGES = Known("merge method", built_in_merges)
"""The package's ways of merging and those of plug-ins."""


def get_merge(name: str) -> MergeMethod:
    """The way of merging of that name.

    Raises:
        UserError: there is none.
    """
    return MERGES.find("way of merging", name)
