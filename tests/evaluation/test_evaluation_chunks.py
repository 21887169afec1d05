"""Cutting languages into pieces, and pieces into chunks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter_stilts.data.load import ExampleSet, load_examples
from adapter_stilts.engine.engine import Engine
from adapter_stilts.evaluation.labels import Piece, group_pieces, pieces
from adapter_stilts.features import build_features
from adapter_stilts.heads.base import Encoding
from adapter_stilts.tasks.registry import get_target
from evaluation_kit import LANGUAGES, ROWS
from made_modules import make_engine


@pytest.fixture(scope="session")
def engine(tiny_xlmr: Path) -> Engine:
    made: Engine = make_engine(str(tiny_xlmr))
    return made


@pytest.fixture
def sets(tiny: Path) -> list[tuple[str, ExampleSet]]:
    target = get_target("tiny-qa")
    return [(each, load_examples(target.at(each), "test", "data")) for each in LANGUAGES]


def cut(engine: Engine, sets: list[tuple[str, ExampleSet]], tokens: int) -> Iterator[Piece]:
    return pieces(engine, "span", iter(sets), max_length=64, stride=16, tokens=tokens)


@pytest.mark.parametrize("tokens", [1, 700, 2_000, 10_000, 10**9])
def test_every_example_once_with_all_its_windows(
    engine: Engine, sets: list[tuple[str, ExampleSet]], tokens: int
) -> None:
    chunks = list(group_pieces(cut(engine, sets, tokens), tokens))
    seen: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    windows = dict.fromkeys(LANGUAGES, 0)
    for chunk in chunks:
        single = len(chunk) == 1 and len(chunk[0].examples) == 1
        assert single or sum(piece.tokens for piece in chunk) <= tokens
        for piece in chunk:
            assert piece.tokens == sum(piece.features["length"])
            assert piece.first == len(seen[piece.language])
            numbers = sorted(set(piece.features["example"]))
            assert numbers == list(range(piece.first, piece.first + len(piece.examples)))
            seen[piece.language] += piece.examples["id"]
            windows[piece.language] += len(piece.features)
            assert piece.last == (len(seen[piece.language]) == ROWS)
    for language, data in sets:
        assert seen[language] == data.examples["id"][:]
        how = Encoding(engine.backbone.tokenizer, 64, 16)
        whole = build_features("span", data.examples, data.fingerprint, how)
        assert windows[language] == len(whole)
    if tokens == 10**9:
        assert len(chunks) == 1
    if tokens == 1:
        assert len(chunks) == ROWS * len(LANGUAGES)


def test_features_of_a_language_are_made_when_its_turn_comes(
    engine: Engine, sets: list[tuple[str, ExampleSet]]
) -> None:
    asked: list[str] = []

    def one_by_one() -> Iterator[tuple[str, ExampleSet]]:
        for language, data in sets:
            asked.append(language)
            yield language, data

    parts = pieces(engine, "span", one_by_one(), max_length=64, stride=16, tokens=10**9)
    next(parts)
    assert asked == ["en"]
    next(parts)
    assert asked == ["en", "de"]


def test_examples_drawn_by_a_limit(engine: Engine, tiny: Path) -> None:
    data = load_examples(get_target("tiny-qa").at("ko"), "test", "data", limit=4)
    parts = list(cut(engine, [("ko", data)], 600))
    assert [name for piece in parts for name in piece.examples["id"]] == data.examples["id"][:]
