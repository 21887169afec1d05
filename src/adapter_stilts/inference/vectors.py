"""Sentence vectors of whole data sets: sorted by length, batched by tokens, in half precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from adapter_stilts.engine.engine import Engine, check_outputs
from adapter_stilts.engine.vectors import batch_vectors, check_choice
from adapter_stilts.errors import FailureError
from adapter_stilts.features.batch import collate, longest_first
from adapter_stilts.paths import free_bytes

Half = npt.NDArray[np.float16]


class VectorOptions(TypedDict, total=False):
    """How rows become vectors.

    Attributes:
        pooling: how a vector is made of those of the tokens: `mean`, `first` or `max`.
        normalise: whether vectors have length 1.
        column: the token sequences, `input_ids` or `query_ids`.
        batch_tokens: a batch has so many padded tokens at most.
    """

    pooling: str
    normalise: bool
    column: str
    batch_tokens: int


def run_vectors(
    engine: Engine,
    features: datasets.Dataset,
    layers: Sequence[int],
    *,
    pooling: str = "mean",
    normalise: bool = True,
    column: str = "input_ids",
    batch_tokens: int = 8192,
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[list[int], Half]]:
    """Vectors of every feature row, batch by batch, in order of falling length.

    Args:
        layers: numbered as in `engine.vectors`; all come from one pass.
        pooling, normalise, column, batch_tokens: see `VectorOptions`.
        rank, world: which share of the batches, of how many.

    Yields:
        The rows of a batch and their vectors, (layers, rows, D).

    Raises:
        UserError: no such layer or pooling.
    """
    for layer in layers:
        check_choice(engine, layer, pooling)
    engine.model.eval()
    sequences = features.select_columns([column])
    lengths = _lengths(sequences, column)
    pad_id = engine.backbone.pad_id
    for rows in longest_first(lengths, batch_tokens)[rank::world]:
        batch = collate([{"input_ids": ids} for ids in sequences[rows][column]], pad_id)
        vectors = batch_vectors(engine, batch, layers, pooling, normalise=normalise)
        halved = vectors.half()  # of which lengths beyond 65,504 are not left finite
        check_outputs([halved], of="the composition")
        yield rows, halved.cpu().numpy()


def _lengths(sequences: datasets.Dataset, column: str) -> npt.NDArray[np.int64]:
    """The tokens of every row, without making Python objects of a million sequences."""
    table = sequences.with_format("arrow")[:]
    found = pc.list_value_length(table.column(column)).to_numpy()
    return np.asarray(found, dtype=np.int64)


def layer_vectors(
    engine: Engine,
    features: datasets.Dataset,
    layers: Sequence[int],
    *,
    path: Path | None = None,
    **options: Unpack[VectorOptions],
) -> Half:
    """Vectors of all rows at several layers, from one pass: (layers, rows, D).

    Args:
        path: where the result is written while it is computed, as .npy; it is then a memory
            map, and memory does not grow with the rows. A million vectors of 1,024 dimensions
            take 2 GB a layer there.
        options: see `VectorOptions`.

    Raises:
        UserError: no such layer or pooling.
        FailureError: the disk has not the space.
    """
    shape = (len(layers), len(features), int(engine.model.config.hidden_size))
    if path is None:
        vectors = np.empty(shape, dtype=np.float16)
    else:
        _check_space(path, 2 * math.prod(shape))
        vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for rows, found in run_vectors(engine, features, layers, **options):
        vectors[:, rows] = found
    if isinstance(vectors, np.memmap):
        vectors.flush()
    return vectors


def _check_space(path: Path, needed: int) -> None:
    """A map over a full disk would end the process without a word."""
    if free_bytes(path.parent) < needed:
        raise FailureError(
            f"vectors of {needed / 1e9:.1f} GB do not fit onto the disk at {path.parent}: free "
            "some space or set ADSTILTS_CACHE to another folder"
        )


def sentence_vectors(
    engine: Engine,
    features: datasets.Dataset,
    *,
    layer: int | None = None,
    path: Path | None = None,
    **options: Unpack[VectorOptions],
) -> Half:
    """Vectors of all rows at one layer (None: the last), (rows, D); see `layer_vectors`."""
    layers = [engine.layers if layer is None else layer]
    first: Half = layer_vectors(engine, features, layers, path=path, **options)[0]
    return first
