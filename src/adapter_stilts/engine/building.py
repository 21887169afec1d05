"""One model at a time is built in a process, whatever threads there are."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

BUILDING = threading.RLock()
"""While transformers loads a model, it takes out of torch for all threads that parameters have
values and are drawn at random: what another thread builds meanwhile would be empty."""

P = ParamSpec("P")
R = TypeVar("R")


def builds(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function that adds layers to a model wait until no other thread builds one."""

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        with BUILDING:
            return function(*args, **given)

    return call
