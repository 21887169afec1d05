"""The head for masked words: that of the library's own model, computed where it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaModel

from adapter_stilts.engine.engine import Engine, add_module, module_parameters
from adapter_stilts.engine.methods import MethodOptions, get_method
from adapter_stilts.engine.words import add_masked_words_head
from adapter_stilts.heads.tagging import IGNORED
from made_modules import make_engine


@pytest.fixture
def checkpoint(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """The tiny XLM-R with a head for masked words, as published ones have it."""
    torch.manual_seed(1)
    model = XLMRobertaForMaskedLM(XLMRobertaConfig.from_pretrained(tiny_xlmr))
    trunk = XLMRobertaModel.from_pretrained(tiny_xlmr, add_pooling_layer=False)
    model.roberta.load_state_dict(trunk.state_dict())
    with torch.no_grad():
        model.lm_head.bias.normal_()
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_bytes((tiny_xlmr / name).read_bytes())
    return tmp_path


def with_head(backbone: Path) -> Engine:
    engine: Engine = make_engine(str(backbone))
    add_module(engine, "m", get_method("bottleneck"), MethodOptions())
    add_masked_words_head(engine, "m", "m:text")
    return engine


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 300, (2, 16), generator=torch.Generator().manual_seed(0))
    labels = torch.full_like(ids, IGNORED)
    labels[0, 3], labels[1, 5], labels[1, 6] = 7, 8, 9
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def test_it_goes_on_from_the_checkpoints_head(checkpoint: Path) -> None:
    engine, rows = with_head(checkpoint), batch()
    found = engine.model(**rows)
    model = XLMRobertaForMaskedLM.from_pretrained(checkpoint).eval()
    engine.model.set_active_adapters(None)
    engine.model.active_head = "m:text"
    plain = engine.model(**rows)
    expected = model(**rows)
    torch.testing.assert_close(plain.loss, expected.loss)
    torch.testing.assert_close(plain.logits, expected.logits[rows["labels"] != IGNORED])
    # a new adapter hardly changes what goes through it
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=0.05)


def test_the_embeddings_stay_as_they_are(tiny_xlmr: Path) -> None:
    engine = with_head(tiny_xlmr)
    own = module_parameters(engine, "m")
    heads = {name.removeprefix("heads.m:text.") for name in own if name.startswith("heads.")}
    assert heads == {"dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"}
    engine.model(**batch()).loss.backward()
    learning = {name for name, p in engine.model.named_parameters() if p.grad is not None}
    assert learning == set(own)
    words = engine.model.get_input_embeddings().weight
    assert not words.requires_grad and words.grad is None


def test_an_invertible_adapter_is_inverted_before_the_embeddings(tiny_xlmr: Path) -> None:
    """As the library's own head for masked words does it."""
    engine: Engine = make_engine(str(tiny_xlmr))
    add_module(engine, "m", get_method("invertible"), MethodOptions())
    add_masked_words_head(engine, "m", "m:text")
    for key, parameter in engine.model.named_parameters():
        if "invertible_adapters" in key:
            torch.nn.init.normal_(parameter, std=0.3)
    engine.model.add_masked_lm_head("library", activation_function="gelu")
    mine, theirs = engine.model.heads["m:text"], engine.model.heads["library"]
    theirs[0].load_state_dict(mine.dense.state_dict())
    theirs[2].load_state_dict(mine.norm.state_dict())
    theirs[3].weight = engine.model.get_input_embeddings().weight
    torch.nn.init.zeros_(theirs[3].bias)
    rows = batch()
    found = engine.model(**rows, head="m:text")
    expected = engine.model(**rows, head="library")
    torch.testing.assert_close(found.logits, expected.logits[rows["labels"] != IGNORED])
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)


def test_it_chooses_among_some_words(checkpoint: Path) -> None:
    engine, rows = with_head(checkpoint), batch()
    every = engine.model(**rows).logits
    words = [4, 7, 8, 9, 200]
    add_masked_words_head(engine, "m", "m:some", words)
    engine.model.active_head = "m:some"
    rows["labels"] = torch.where(rows["labels"] == IGNORED, IGNORED, rows["labels"] - 6)
    torch.testing.assert_close(engine.model(**rows).logits, every[:, words])
