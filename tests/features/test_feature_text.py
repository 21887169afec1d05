"""Lines of text as sequences: nothing lost, none too long."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.backbones import find_backbone
from features_kit import encode_as

encode = encode_as("text")


def test_long_lines_become_several(tiny_xlmr: Path) -> None:
    tokenizer = find_backbone(str(tiny_xlmr)).tokenizer
    lines = ["A castle.", "The river runs under the old bridge. " * 20]
    found = encode({"text": lines}, tokenizer, max_length=32)
    assert found["example"][0] == 0 and found["example"].count(1) > 3
    assert found["length"] == [len(ids) for ids in found["input_ids"]]
    assert max(found["length"]) == 32
    for ids in found["input_ids"]:
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    whole = [piece for ids in found["input_ids"][1:] for piece in ids[1:-1]]
    assert whole == tokenizer(lines[1], add_special_tokens=False)["input_ids"][: len(whole)]


def test_a_lone_token_is_left_out(tiny_xlmr: Path) -> None:
    tokenizer = find_backbone(str(tiny_xlmr)).tokenizer
    assert encode({"text": ["A", "A castle."]}, tokenizer, max_length=32)["example"] == [1]
