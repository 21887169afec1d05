"""Multiple choice: grouping, and what is cut where it does not fit."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_stilts.heads.base import template
from features_kit import encode_as

encode = encode_as("choice")


def pieces(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_options_are_grouped_by_example(tokenizer: Any) -> None:
    examples: dict[str, list[Any]] = {
        "prompt": ["The cat", "A dog"],
        "options": [["sat.", "flew away."], ["barked.", "read.", "sang."]],
        "label": [0, 2],
    }
    features = encode(examples, tokenizer, max_length=64)
    assert features["example"] == [0, 1]
    assert features["labels"] == [0, 2]
    assert [len(group) for group in features["input_ids"]] == [2, 3]
    for row, group in enumerate(features["input_ids"]):
        for option, ids in zip(examples["options"][row], group, strict=True):
            assert ids == tokenizer(examples["prompt"][row], option)["input_ids"]
    longest = [max(len(ids) for ids in group) for group in features["input_ids"]]
    assert features["length"] == [-(-n // 8) * 8 * k for n, k in zip(longest, (2, 3), strict=True)]


def test_long_prompt_keeps_its_end(tokenizer: Any) -> None:
    prompt, option = " ".join(f"w{n}" for n in range(60)), "the end"
    features = encode({"prompt": [prompt], "options": [[option]]}, tokenizer, max_length=24)
    (ids,) = features["input_ids"][0]
    assert "labels" not in features
    assert len(ids) == 24
    tail = pieces(tokenizer, option)
    kept = pieces(tokenizer, prompt)[-(24 - 4 - len(tail)) :]
    assert ids == [0, *kept, 2, 2, *tail, 2]


def test_long_option_is_cut_to_half_the_room(tokenizer: Any) -> None:
    prompt, option = " ".join(["left"] * 50), " ".join(["right"] * 50)
    features = encode({"prompt": [prompt], "options": [[option]]}, tokenizer, max_length=24)
    (ids,) = features["input_ids"][0]
    kept = pieces(tokenizer, prompt)[-10:]
    assert ids == [0, *kept, 2, 2, *pieces(tokenizer, option)[:10], 2]


def test_long_option_takes_the_room_of_a_short_prompt(tokenizer: Any) -> None:
    prompt, option = "Ann", " ".join(["right"] * 50)
    features = encode({"prompt": [prompt], "options": [[option]]}, tokenizer, max_length=24)
    (ids,) = features["input_ids"][0]
    first = pieces(tokenizer, prompt)
    assert ids == [0, *first, 2, 2, *pieces(tokenizer, option)[: 20 - len(first)], 2]


def test_no_prompt_at_all(tokenizer: Any) -> None:
    option = " ".join(["right"] * 50)
    features = encode({"prompt": [""], "options": [[option, "a"]]}, tokenizer, max_length=24)
    long, short = features["input_ids"][0]
    assert long == [0, 2, 2, *pieces(tokenizer, option)[:20], 2]
    assert short == [0, 2, 2, *pieces(tokenizer, "a"), 2]


@settings(max_examples=60, deadline=None)
@given(prompt=st.integers(0, 40), option=st.integers(1, 40), max_length=st.integers(6, 40))
def test_never_too_long_and_never_shorter_than_needed(
    tiny_tokenizer: Any, prompt: int, option: int, max_length: int
) -> None:
    examples: dict[str, list[Any]] = {
        "prompt": [" ".join(["of"] * prompt)],
        "options": [[" ".join(["the"] * option)]],
    }
    (ids,) = encode(examples, tiny_tokenizer, max_length=max_length)["input_ids"][0]
    whole = tiny_tokenizer(examples["prompt"][0], examples["options"][0][0])["input_ids"]
    assert len(ids) == min(max_length, len(whole))


def test_template_is_the_tokenizers_own(tokenizer: Any) -> None:
    pair, single = template(tokenizer, pair=True), template(tokenizer, pair=False)
    assert pair.around([7], [8, 9]) == [0, 7, 2, 2, 8, 9, 2]
    assert single.around([7]) == [0, 7, 2]
    assert (pair.size, single.size) == (4, 2)


def test_template_of_the_generic_fast_tokenizer(tiny_tokenizer: Any) -> None:
    """Its `build_inputs_with_special_tokens` adds none."""
    from transformers import PreTrainedTokenizerFast

    generic = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer.backend_tokenizer)
    assert generic.build_inputs_with_special_tokens([7]) == [7]
    assert template(generic, pair=True).around([7], [8]) == [0, 7, 2, 2, 8, 2]
