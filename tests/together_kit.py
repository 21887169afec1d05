"""Inputs of several modules, answered together as the service does it, in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapter_stilts.zoo.together import Input, finish, prepare, run


def predict_together(
    inputs: Sequence[Input], *, batch_tokens: int | None = None
) -> list[dict[str, Any]]:
    """What each module says of its input, in the inputs' order."""
    prepared = prepare(inputs)
    pieces = [(each, number) for each in prepared for number in range(len(each.sizes))]
    run(pieces, batch_tokens=batch_tokens)
    return finish(prepared)
