"""Checks of what is given to the public functions: unknown keywords, and values of another type."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from types import NoneType
from typing import Any, ParamSpec, TypeVar, Unpack, get_args, get_origin, overload

from adapter_stilts.errors import UserError, hint, shown

_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.+(?:\n {8,}.+)*)", re.MULTILINE)
_TYPES: Mapping[str, tuple[Any, str]] = {
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "str": ((str, os.PathLike), "a text"),
    "bool": (bool, "True or False"),
    "Path": (os.PathLike, "a path"),
    "PathLike": (os.PathLike, "a path"),
    "Sequence": (Iterable, "a list"),
    "None": (NoneType, "None"),
}
"""The types of options that are told apart: what a value must be, and how that is said."""
P = ParamSpec("P")
R = TypeVar("R")


class UnknownKeywordError(UserError, TypeError):
    """A function was given a keyword that it does not have, or too much or too little else."""


def checks_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function name the nearest known keyword where an unknown one is given.

    Of other calls that do not fit, it says how it is called. A value of another type than the
    option's, such as `steps="many"`, is refused by name, whether it stands in its place or behind
    its name. A path is taken where a text is meant.
    The options that it takes as `Unpack[...]` of a `TypedDict` become part of its signature, so
    that `help` and the completion of a notebook list them.
    """
    signature = _with_options(function)
    in_place = [
        each
        for each in signature.parameters.values()
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        for name in given:
            if name not in signature.parameters:
                raise unknown_keyword(function.__name__, name, signature.parameters)
            given[name] = _checked(function.__name__, signature.parameters[name], given[name])  # type: ignore[misc,unused-ignore]
        try:
            signature.bind(*args, **given)
        except TypeError as error:
            form = _form(signature)
            what = f"{function.__name__}(): {error}: call it as {function.__name__}({form})"
            raise UnknownKeywordError(what) from None
        first = map(functools.partial(_checked, function.__name__), in_place, args)
        placed: Any = (*first, *args[len(in_place) :])
        return function(*placed, **given)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


@overload
def text_of(given: None) -> None: ...
@overload
def text_of(given: str | os.PathLike[str]) -> str: ...
def text_of(given: str | os.PathLike[str] | None) -> str | None:
    """A name, or a path as the name of what lies there."""
    return None if given is None else os.fspath(given)


def fill(kind: type[R], options: Mapping[str, Any]) -> R:
    """The dataclass of a function's options, with its defaults; paths have become texts."""
    return kind(**options)


def unknown_keyword(function: str, name: str, known: Iterable[str]) -> UnknownKeywordError:
    """The error for a keyword that a function does not have."""
    meant = hint(name, known, f"it has {', '.join(known)}", limit=2)
    return UnknownKeywordError(f"{function}() has no keyword '{name}': {meant}")


def _form(signature: inspect.Signature) -> str:
    """How a function is called: what it takes in place, and what else it cannot go without."""
    return ", ".join(
        f"{each.name}={'[…]' if 'Sequence[' in str(each.annotation) else '…'}"
        for each in signature.parameters.values()
        if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        or (each.kind is inspect.Parameter.KEYWORD_ONLY and each.default is inspect.Parameter.empty)
    )


def _checked(function: str, option: inspect.Parameter, value: object) -> Any:
    """The value as Python's own; refuses another type, where the option's are all in `_TYPES`."""
    names = [part.strip().partition("[")[0] for part in str(option.annotation).split("|")]
    if isinstance(value, os.PathLike) and "PathLike" in names:
        return os.fspath(value)
    if option.kind is inspect.Parameter.VAR_KEYWORD or not set(names) <= set(_TYPES):
        return _plain(value)
    if isinstance(value, bool) and "bool" not in names:
        fits = False
    else:
        fits = any(isinstance(value, _TYPES[name][0]) for name in names)
    if not fits:
        expected = " or ".join(_TYPES[name][1] for name in names)
        given = " ".join(shown(value).split("\n"))  # a data frame shows itself in several lines
        raise UserError(f"{function}(): {option.name}={given}: {expected} was expected")
    if isinstance(value, os.PathLike) and "str" in names and "Path" not in names:
        return os.fspath(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    """Numbers of numpy and the like as Python's own, which can be written as JSON."""
    if isinstance(value, int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _with_options(function: Callable[..., Any]) -> inspect.Signature:
    """The signature with every option as a keyword of its own; `...` stands for its default."""
    found = inspect.signature(function)
    parameters = list(found.parameters.values())
    if not parameters or parameters[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return found
    names = function.__globals__
    annotation = eval(str(parameters[-1].annotation), names)
    assert get_origin(annotation) is Unpack, function
    (options,) = get_args(annotation)
    expanded = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=...,
            annotation=getattr(kind, "__forward_arg__", kind),
        )
        for name, kind in options.__annotations__.items()
    ]
    return found.replace(parameters=[*parameters[:-1], *expanded])


def descriptions(*classes: type) -> dict[str, str]:
    """What the docstrings of some classes say of every attribute, by its name."""
    found: dict[str, str] = {}
    for each in classes:
        _, _, section = (inspect.getdoc(each) or "").partition("Attributes:\n")
        for names, text in _ATTRIBUTE.findall(section):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found
