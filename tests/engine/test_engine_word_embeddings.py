"""Word embeddings that stay on disk: the same numbers to the bit, and only what is needed read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import XLMRobertaModel

from adapter_stilts.backbones.weights import WEIGHTS, WORDS, Stored, stored_words
from adapter_stilts.engine.engine import Engine, forward, module_parameters
from adapter_stilts.engine.words import WordsOnDisk
from adapter_stilts.errors import UserError
from made_modules import make_engine, make_module, token_batch

ROWS, WIDTH = 20_000, 1024


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """A table of 80 MB behind another tensor."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(ROWS, WIDTH, generator=generator)
    save_file({WORDS: table, "a.bias": torch.ones(3)}, tmp_path / WEIGHTS)
    return stored_words(tmp_path, "xlm-roberta")


def whole(engine: Engine) -> Engine:
    """The engine with the table in memory, as `nn.Embedding` holds it."""
    words = engine.model.get_input_embeddings()
    assert isinstance(words, WordsOnDisk)
    plain = torch.nn.Embedding.from_pretrained(words.weight.clone(), freeze=True)
    engine.model.set_input_embeddings(plain)
    return engine


@pytest.mark.parametrize(
    ("form", "precision"),
    [("fp32", "fp32"), ("fp32", "bf16"), ("fp16", "fp32"), ("fp64", "bf16"), ("shards", "fp32")],
)
def test_logits_and_gradients_are_those_of_the_whole_table(
    tiny_xlmr: Path, tmp_path: Path, form: str, precision: str
) -> None:
    copy = shutil.copytree(tiny_xlmr, tmp_path / "copy")
    tensors = load_file(copy / WEIGHTS)
    if form == "shards":
        (copy / WEIGHTS).unlink()
        XLMRobertaModel.from_pretrained(tiny_xlmr).save_pretrained(copy, max_shard_size="60KB")
    else:
        kinds = {"fp16": torch.float16, "fp64": torch.float64}
        kind = kinds.get(form, torch.float32)
        tensors = {name: (each.double() * 1.1).to(kind) for name, each in tensors.items()}
        save_file(tensors, copy / WEIGHTS, metadata={"format": "pt"})
    expected = tensors[WORDS].float().to(torch.bfloat16 if precision == "bf16" else torch.float32)

    found = []
    for change in (lambda engine: engine, whole):
        engine = change(make_engine(str(copy), precision))
        torch.manual_seed(0)
        make_module(engine, "m", "bottleneck", "classification")
        batch = token_batch(engine, "classification")
        logits = forward(engine, batch).logits
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            engine.model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients = {name: p.grad for name, p in module_parameters(engine, "m").items()}
        found.append((logits, gradients))
        assert torch.equal(engine.model.get_input_embeddings().weight, expected)
    (logits, gradients), (plain_logits, plain_gradients) = found
    assert torch.equal(logits, plain_logits)
    assert gradients.keys() == plain_gradients.keys()
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.any(), name
        plain = plain_gradients[name]
        assert plain is not None and torch.equal(gradient, plain), name


def test_the_backbones_vectors_are_those_of_the_library(
    backbone: str, engine: Engine, plain_for: Callable[[str], Any]
) -> None:
    ids = token_batch(engine, "classification")["input_ids"]
    with torch.no_grad():
        expected = plain_for(backbone).get_input_embeddings()(ids)
    assert torch.equal(engine.model.get_input_embeddings()(ids), expected)


def test_only_rows_that_are_asked_for_take_memory(stored: Stored) -> None:
    words = WordsOnDisk(stored, torch.float32)
    asked = torch.arange(0, ROWS, 100)
    words(asked)  # what torch itself needs is there now
    before = resident()
    found = words(asked + 7)
    assert resident() - before < 6e6  # 200 rows are 0.8 MB, twice: the table's and what comes out
    table = load_file(stored.path)[WORDS]
    assert torch.equal(found, table[asked + 7])
    assert torch.equal(words(asked.view(10, -1)[:, ::3]), table[asked.view(10, -1)[:, ::3]])
    del table
    before = resident()
    assert words.weight.shape == (ROWS, WIDTH)
    assert resident() - before > 60e6  # so the measure does see rows


def resident() -> int:
    """Bytes of this process's own that are in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def test_loading_leaves_no_table_behind(tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    vocabulary = int(engine.model.config.vocab_size)
    held = [each for each in engine.model.parameters() if each.shape[0] == vocabulary]
    held += [
        each.weight
        for each in engine.model.loaded_embeddings.values()
        if isinstance(each, torch.nn.Embedding)
    ]
    assert not held


def test_several_threads_ask_at_once(stored: Stored) -> None:
    words = WordsOnDisk(stored, torch.float32)
    table = load_file(stored.path)[WORDS]
    parts = [
        torch.randint(0, ROWS, (500,), generator=torch.Generator().manual_seed(n % 3))
        for n in range(12)
    ]
    with ThreadPoolExecutor(4) as pool:
        for part, found in zip(parts, pool.map(words, parts), strict=True):
            assert torch.equal(found, table[part])


@pytest.mark.parametrize("wrong", [-1, ROWS])
def test_no_such_word(stored: Stored, wrong: int) -> None:
    with pytest.raises(IndexError):
        WordsOnDisk(stored, torch.float32)(torch.tensor([[5, wrong]]))


def test_file_that_became_shorter(stored: Stored) -> None:
    words = WordsOnDisk(stored, torch.float32)
    with stored.path.open("r+b") as file:
        file.truncate(stored.offset + 10)
    with pytest.raises(UserError, match="shorter"):
        words(torch.tensor([3]))
