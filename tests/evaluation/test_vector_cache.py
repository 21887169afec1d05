"""Vectors from the disk are those that were written there, or are made again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from adapter_stilts.data.load import ExampleSet
from adapter_stilts.engine.engine import Engine
from adapter_stilts.evaluation.retrieval import Vectors
from adapter_stilts.zoo.local import load_composition
from made_modules import make_engine, save_made
from retrieval_kit import NONE, sentence


@pytest.fixture(scope="module")
def engine(tiny_xlmr: Path) -> Engine:
    return make_engine(str(tiny_xlmr))


def texts(count: int = 12) -> ExampleSet:
    columns = {"query": [""] * count, "text": [sentence(n) for n in range(count)]}
    examples = datasets.Dataset.from_dict({**columns, "context": [""] * count})
    return ExampleSet(examples, "a" * 32, "test", ())


def rewritten(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        np.save(folder / "vectors.npy", change(np.load(folder / "vectors.npy")))

    return write


def placed(value: float) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        vectors = np.load(folder / "vectors.npy", mmap_mode="r+")
        vectors[0, 3, 5] = value
        vectors.flush()

    return place


def flipped(folder: Path) -> None:
    content = bytearray((folder / "vectors.npy").read_bytes())
    content[-7] ^= 1
    (folder / "vectors.npy").write_bytes(content)


def a_folder(folder: Path) -> None:
    (folder / "vectors.npy").unlink()
    (folder / "vectors.npy").mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "nan": placed(float("nan")),
    "infinite": placed(float("inf")),
    "another number": placed(0.25),
    "one bit": flipped,
    "fewer columns": rewritten(lambda x: np.ascontiguousarray(x[:, :, :-1])),
    "fewer rows": rewritten(lambda x: x[:, :-1]),
    "more rows": rewritten(lambda x: np.concatenate([x, x], 1)),
    "turned": rewritten(lambda x: np.ascontiguousarray(x.transpose(0, 2, 1))),
    "another type": rewritten(lambda x: x.astype(np.float32)),
    "integers": rewritten(lambda x: x.view(np.int16)),
    "objects": rewritten(lambda x: x.astype(object)),
    "cut": lambda folder: (folder / "vectors.npy").write_bytes(
        (folder / "vectors.npy").read_bytes()[:-10]
    ),
    "empty": lambda folder: (folder / "vectors.npy").write_bytes(b""),
    "gone": lambda folder: (folder / "vectors.npy").unlink(),
    "a folder": a_folder,
    "no record": lambda folder: (folder / "vectors.json").unlink(),
    "a broken record": lambda folder: (folder / "vectors.json").write_text("[1"),
    "another record": lambda folder: (folder / "vectors.json").write_text(
        json.dumps({"sha256": "0" * 64})
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_vectors_are_made_again(
    engine: Engine, cache: Path, computed: list[int], caplog: Any, damage: str
) -> None:
    vectors = Vectors(engine, NONE, 2, "mean", 64)
    first = np.array(vectors.of(texts()))
    assert np.array_equal(vectors.of(texts()), first) and computed == [12]
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    DAMAGE[damage](folder)
    with caplog.at_level(logging.WARNING):
        again = vectors.of(texts())
    assert np.array_equal(again, first)
    assert computed == [12, 12]
    assert str(folder) in caplog.text and "made again" in caplog.text
    assert np.array_equal(vectors.of(texts()), first) and computed == [12, 12]


def test_other_weights_of_the_same_run(tiny_xlmr: Path, tmp_path: Path, cache: Path) -> None:
    """A record says its run itself; what is kept belongs to the weights."""
    engine: Engine = make_engine(str(tiny_xlmr))
    found = []
    for name, method in (("one", "lora"), ("two", "bottleneck")):
        save_made(engine, name, method, "embedding", tmp_path / name, run="c" * 16)
        fresh: Engine = make_engine(str(tiny_xlmr))
        composed = load_composition(fresh, str(tmp_path / name))
        found.append(np.array(Vectors(fresh, composed, 3, "mean", 64).of(texts())))
    assert not np.allclose(found[0], found[1], atol=1e-2)
