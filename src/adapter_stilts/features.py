"""Features of whole example sets, cached as Arrow under a key of content, and batches of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from filelock import FileLock

from adapter_stilts.hashing import package_digest, text_digest
from adapter_stilts.heads import get_head
from adapter_stilts.heads.base import Encoding, padded_length
from adapter_stilts.heads.tagging import IGNORED
from adapter_stilts.paths import atomic_folder, cache_dir
from adapter_stilts.tasks.spec import HeadKind

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

_CODE = package_digest("adapter_stilts.features", "adapter_stilts.heads")
_BATCH = 512
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""What ends an Arrow stream; one cut off between two batches would read as if it were whole."""


def build_features(
    kind: HeadKind, examples: datasets.Dataset, fingerprint: str, how: Encoding
) -> datasets.Dataset:
    """The features of an example set, from the cache or made anew.

    Args:
        examples: columns of the head kind's example type.
        fingerprint: the example set's content hash.

    Returns:
        A memory-mapped data set with the head kind's feature columns; `example` numbers rows of
        `examples`.
    """
    folder = cache_dir() / "features" / features_key(kind, fingerprint, how)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        found = _read(folder)
        if found is not None:
            return found
        with atomic_folder(folder) as work:
            _write(work / "features.arrow", _batches(kind, examples, how))
        made = _read(folder)
    assert made is not None
    return made


def features_key(kind: HeadKind, fingerprint: str, how: Encoding) -> str:
    """A hash of everything that decides the features, the encoding code among it."""
    parts = [
        encoding_identity(how.tokenizer),
        fingerprint,
        json.dumps([kind, how.max_length, how.stride, how.tags], allow_nan=False),
    ]
    return text_digest("\0".join(parts), 24)


def encoding_identity(tokenizer: PreTrainedTokenizerFast) -> str:
    """A hash of what turns examples into features: the code of this package, and the tokenizer."""
    return text_digest(f"{_CODE} {_tokenizer_digest(tokenizer)}")


_DIGESTS: WeakKeyDictionary[Any, tuple[int, str]] = WeakKeyDictionary()


def _tokenizer_digest(tokenizer: PreTrainedTokenizerFast) -> str:
    """A hash of the tokenizer.

    That of its pieces is kept: writing down 250,000 takes a tenth of a second.
    """
    backend, known = tokenizer.backend_tokenizer, _DIGESTS.get(tokenizer, (0, ""))
    # `len(tokenizer)` would go through all pieces, each time.
    pieces = backend.get_vocab_size(with_added_tokens=False)
    size = pieces + len(tokenizer.added_tokens_decoder)
    if size != known[0]:
        # What the last call cut and padded is kept in the tokenizer, and is no part of it.
        backend.no_truncation()
        backend.no_padding()
        known = _DIGESTS[tokenizer] = size, text_digest(backend.to_str())
    around = [backend.normalizer, backend.pre_tokenizer, backend.post_processor]
    options = [tokenizer.special_tokens_map, tokenizer.truncation_side, tokenizer.padding_side]
    found = hashlib.sha256(known[1].encode())
    for part in around:
        found.update(b"" if part is None else part.__getstate__())
    found.update(json.dumps(options, sort_keys=True, default=str, allow_nan=False).encode())
    return found.hexdigest()


def _batches(kind: HeadKind, examples: datasets.Dataset, how: Encoding) -> Iterator[pa.Table]:
    encode = get_head(kind).encode
    for start in range(0, len(examples), _BATCH):
        features = encode(examples[start : start + _BATCH], how)
        features["example"] = [start + row for row in features["example"]]
        yield pa.table(features)


def _write(path: Path, batches: Iterator[pa.Table]) -> None:
    first = next(batches)
    with pa.ipc.new_stream(str(path), first.schema) as writer:
        for table in chain([first], batches):
            writer.write_table(table)


def _read(folder: Path) -> datasets.Dataset | None:
    """The cached features; None where there are none or the file is damaged (then removed)."""
    path = folder / "features.arrow"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            file.seek(-len(_END), os.SEEK_END)
            if file.read() != _END:
                raise pa.ArrowInvalid("the stream does not end")
        return datasets.Dataset.from_file(str(path))
    except (pa.ArrowInvalid, OSError):
        logger.warning("cached features in %s are damaged: made again", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def token_budget_batches(
    order: Sequence[int] | npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    *,
    batch_tokens: int,
    batch_examples: int,
) -> list[list[int]]:
    """Cuts an order of rows into consecutive batches.

    A batch holds as many rows as keep rows x longest padded row within `batch_tokens`, at most
    `batch_examples`, at least one. `lengths` are in tokens, (rows,).
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for row in order:
        length = max(longest, padded_length(int(lengths[row])))
        full = len(batch) >= batch_examples or length * (len(batch) + 1) > batch_tokens
        if batch and full:
            batches.append(batch)
            batch, length = [], padded_length(int(lengths[row]))
        batch.append(int(row))
        longest = length
    if batch:
        batches.append(batch)
    return batches


def longest_first(lengths: npt.NDArray[np.int64], batch_tokens: int) -> list[list[int]]:
    """All rows in order of falling length, in batches of so many padded tokens at most."""
    order = np.argsort(-lengths, kind="stable")
    return token_budget_batches(
        order, lengths, batch_tokens=batch_tokens, batch_examples=batch_tokens
    )


def collate(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pads the rows' sequences to the longest and stacks them.

    Args:
        rows: feature rows; `input_ids` is a list of ints (shape (L,)) or, for multiple choice,
            a list of such lists (shape (C, L)).
        pad_id: the tokenizer's padding id.

    Returns:
        `input_ids` and `attention_mask`, int64, of shape (B, L) or (B, C, L), and whatever of
        `labels`, `start_positions`, `end_positions` the rows have: (B,), or (B, L) for tags.
        Rows with `query_ids` give these and `query_mask` too, (B, Q), padded for themselves.
    """
    nested = isinstance(rows[0]["input_ids"][0], (list, np.ndarray))
    flat = [ids for row in rows for ids in (row["input_ids"] if nested else [row["input_ids"]])]
    input_ids, mask = _padded(flat, pad_id)
    longest = input_ids.shape[1]
    shape = (len(rows), -1, longest) if nested else (len(rows), longest)
    batch = {"input_ids": input_ids.reshape(shape), "attention_mask": mask.reshape(shape)}
    for key in ("labels", "start_positions", "end_positions"):
        if key in rows[0]:
            batch[key] = _labels([row[key] for row in rows], longest)
    if "query_ids" in rows[0]:
        queries = [row["query_ids"] for row in rows]
        batch["query_ids"], batch["query_mask"] = _padded(queries, pad_id)
    return batch


def _padded(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The sequences, padded, and 1 where they have a token: both (sequences, L)."""
    import torch  # which takes seconds, and features are made without it

    longest = padded_length(max(map(len, sequences)))
    padded = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(padded)
    for number, ids in enumerate(sequences):
        padded[number, : len(ids)] = ids
        mask[number, : len(ids)] = 1
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _labels(values: Sequence[Any], longest: int) -> torch.Tensor:
    import torch

    if isinstance(values[0], (list, np.ndarray)):
        padded = np.full((len(values), longest), IGNORED, dtype=np.int64)
        for number, tags in enumerate(values):
            padded[number, : len(tags)] = tags
        return torch.from_numpy(padded)
    whole = not isinstance(values[0], float)
    return torch.tensor(values, dtype=torch.int64 if whole else torch.float32)
