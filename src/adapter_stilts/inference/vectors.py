"""Sentence vectors: pooled from the trunk's hidden states, learnt, and made of whole data sets.

Layers are numbered as transformers numbers `hidden_states`: 0 is the output of the embeddings, i
the output of the i-th layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn import functional

from adapter_stilts.engine.engine import Engine, check_outputs
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.features import collate, longest_first
from adapter_stilts.heads.embedding import check_pooling
from adapter_stilts.paths import free_bytes

Half = npt.NDArray[np.float16]


def check_choice(engine: Engine, layer: int, pooling: str) -> None:
    """Refuses a layer or a pooling that does not exist."""
    if not 0 <= layer <= engine.layers:
        raise UserError(
            f"no layer {layer}: backbone '{engine.backbone.name}' has layers 1 to "
            f"{engine.layers}, and 0 is the output of its embeddings"
        )
    check_pooling(pooling)


def pool(hidden: Tensor, mask: Tensor, pooling: str = "mean") -> Tensor:
    """One vector a sequence.

    The mean is over all tokens that are not padding. Special tokens count, as in XTREME
    (`mean_pool_embedding` of third_party/evaluate_retrieval.py with the attention mask, its
    default) and as E5 was trained. `first` is the first token's state, without a pooler's dense
    layer; `max` is the largest value of each dimension.

    Args:
        hidden: (B, L, D), any float type.
        mask: (B, L), 1 for tokens, 0 for padding.

    Returns:
        (B, D), float32.
    """
    if pooling == "first":
        return hidden[:, 0].float()
    hidden, tokens = hidden.float(), mask[..., None]
    if pooling == "max":
        return hidden.masked_fill(tokens == 0, float("-inf")).amax(1)
    return (hidden * tokens).sum(1) / tokens.sum(1)


def to_unit_length(vectors: Tensor, *, of: str, module: str = "") -> Tensor:
    """The same directions, of length 1: (…, D).

    Refuses (NotFiniteError) what is no number, or so large that the length is none: zeros would
    come of it.
    """
    check_outputs([vectors, vectors.norm(dim=-1)], of=of, module=module)
    return functional.normalize(vectors, dim=-1)


@contextmanager
def first_layers(engine: Engine, count: int) -> Iterator[None]:
    """Inside this context the trunk ends after `count` layers: those above cost nothing."""
    encoder = engine.model.base_model.encoder
    whole = encoder.layer
    encoder.layer = whole[:count]
    try:
        yield
    finally:
        encoder.layer = whole


def batch_vectors(
    engine: Engine,
    batch: dict[str, Tensor],
    layers: Sequence[int],
    pooling: str = "mean",
    *,
    normalise: bool = True,
) -> Tensor:
    """The vectors of a batch at some layers, in one pass with the active modules.

    It fails as `check_outputs`.

    Args:
        batch: `input_ids` and `attention_mask`, (B, L).
        layers: which ones; nothing above the highest is computed.
        normalise: to length 1.

    Returns:
        (layers, B, D), float32, on the engine's device.
    """
    batch = engine.moved(batch)
    depth = max(layers)
    with engine.running(), first_layers(engine, depth):
        every = min(layers) < depth
        output = engine.model.base_model(**batch, output_hidden_states=every)
    states = output.hidden_states if every else {depth: output.last_hidden_state}
    mask = batch["attention_mask"]
    vectors = torch.stack([pool(states[layer], mask, pooling) for layer in layers])
    if normalise:
        return to_unit_length(vectors, of="the composition")
    check_outputs([vectors], of="the composition")
    return vectors


TEMPERATURE = 0.01
"""Cosines are divided by it: XTREME-R multiplies them by 100, and E5 was trained so too."""


def in_batch_loss(
    queries: Tensor,
    texts: Tensor,
    same: Tensor,
    *,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Softmax over a batch's texts, of which query i is to find text i.

    loss = - 1/B sum_i log( exp(cos(q_i, t_i) / T) / sum_j exp(cos(q_i, t_j) / T) )

    In the one direction only, from query to text, as XTREME-R trains for LAReQA and Mewsli-X
    (Ruder et al. 2021; `BertForRetrieval` in third_party/bert.py). Where texts i and j are the
    same, j is left out of the sum for query i: there it would count as wrong.

    Args:
        queries, texts: (B, D).
        same: (B, B), bool: whether two texts are the same.

    Returns:
        A scalar; 0 for a batch of one, which has nothing to tell apart.
    """
    queries, texts = (functional.normalize(side.float(), dim=-1) for side in (queries, texts))
    scores = queries @ texts.T / temperature
    others = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    scores = scores.masked_fill(others, float("-inf"))
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def same_rows(ids: Tensor) -> Tensor:
    """Which rows of (B, L) are equal: (B, B), bool."""
    _, group = torch.unique(ids, dim=0, return_inverse=True)
    return torch.eq(group[:, None], group[None])


def dual_encoder_loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """The loss of one batch: both sides through the same trunk, vectors from its last layer.

    Args:
        model: gives hidden states, as a model of `adapters` does that has no active head.
        batch: `query_ids` and `query_mask`, `input_ids` and `attention_mask`, from `collate`.
    """
    queries, texts = (
        pool(model(input_ids=batch[ids], attention_mask=batch[mask]).last_hidden_state, batch[mask])
        for ids, mask in (("query_ids", "query_mask"), ("input_ids", "attention_mask"))
    )
    return in_batch_loss(queries, texts, same_rows(batch["input_ids"]))


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

    Refuses a layer or a pooling that there is not.

    Args:
        layers: as `hidden_states` are numbered; all come from one pass.
        pooling, normalise, column, batch_tokens: see `VectorOptions`.
        rank, world: which share of the batches, of how many.

    Yields:
        The rows of a batch and their vectors, (layers, rows, D).
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

    Refuses as `run_vectors`; a disk without the space is a FailureError.

    Args:
        path: where the result is written while it is computed, as .npy; it is then a memory
            map, and memory does not grow with the rows. A million vectors of 1,024 dimensions
            take 2 GB a layer there.
        options: see `VectorOptions`.
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
