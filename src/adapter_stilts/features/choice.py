"""Multiple choice: every option is read after the prompt, as a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from adapter_stilts.features.padding import padded_length
from adapter_stilts.features.special import template


def encode(
    examples: Mapping[str, Sequence[Any]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
) -> dict[str, list[Any]]:
    """One feature an example, holding one sequence `<s> prompt </s></s> option </s>` an option.

    The prompt is cut at its left end where both do not fit, so that the words next to the option
    stay; an option longer than half the room is cut to that half.

    Returns:
        Columns `input_ids` (list of lists of ints), `length` (the longest option's, padded, times
        the number of options: what the example costs), `example` and `labels`.
    """
    options = examples["options"]
    prompts = list(
        chain.from_iterable([p] * len(o) for p, o in zip(examples["prompt"], options, strict=True))
    )
    flat = _pairs(prompts, list(chain.from_iterable(options)), tokenizer, max_length)
    ends = np.cumsum([0, *(len(o) for o in options)])
    grouped = [flat[a:b] for a, b in pairwise(ends)]
    features: dict[str, list[Any]] = {
        "input_ids": grouped,
        "length": [padded_length(max(map(len, group))) * len(group) for group in grouped],
        "example": list(range(len(grouped))),
    }
    if "label" in examples:
        features["labels"] = list(examples["label"])
    return features


def _pairs(
    prompts: list[str], options: list[str], tokenizer: PreTrainedTokenizerFast, max_length: int
) -> list[list[int]]:
    prompt_ids, option_ids = (
        tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        for texts in (prompts, options)
    )
    special = template(tokenizer, pair=True)
    room = max_length - special.size
    built = []
    for prompt, option in zip(prompt_ids, option_ids, strict=True):
        if len(prompt) + len(option) > room:
            option = option[: max(room // 2, room - len(prompt))]
            keep = room - len(option)
            prompt = prompt[-keep:]
        built.append(special.around(prompt, option))
    return built
