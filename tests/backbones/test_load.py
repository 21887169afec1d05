"""Backbones from folders and from a Hub of our own; their identity; what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from load_client import found  # type: ignore[import-not-found]
from safetensors.torch import load_file, save_file
from transformers import XLMRobertaModel

from adapter_stilts.backbones import find_backbone, fingerprint, hub_id
from adapter_stilts.errors import UserError
from hub_kit import connect
from hub_server import COMMIT, serving
from made_modules import make_engine

Client = Callable[..., list[dict[str, Any]]]
REMEDY = "--backbone embedded"


@pytest.fixture
def copy(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """The tiny XLM-R, to be spoilt."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


# Folders


def test_local_folder(tiny_xlmr: Path) -> None:
    found = find_backbone(str(tiny_xlmr))
    assert (found.path, found.revision, found.slug) == (tiny_xlmr, "", tiny_xlmr.name)
    assert found.tokenizer("Ann")["input_ids"][0] == 0


def test_slug_of_the_current_folder(tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_xlmr)
    assert find_backbone(".").slug == tiny_xlmr.name


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all"])
def test_unknown_folder(name: str) -> None:
    with pytest.raises(UserError, match=f"backbone folder {name} is not there"):
        find_backbone(name)


def test_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json"):
        find_backbone(str(tmp_path))


def test_folder_without_tokenizer(copy: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (copy / name).unlink()
    with pytest.raises(UserError, match="tokenizer") as caught:
        _ = find_backbone(str(copy)).tokenizer
    assert "\n" not in str(caught.value)


def test_damaged_weights(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged") as caught:
        make_engine(str(copy))
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    torch.save(load_file(weights), copy / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(UserError, match=r"no safetensors weights.*pickles are not loaded"):
        make_engine(str(copy))


# Identity and sizes


def test_longest_sequence(tiny_xlmr: Path, embedded: str) -> None:
    assert find_backbone(str(tiny_xlmr)).max_length == 130 - 1 - 1
    assert find_backbone(embedded).max_length == 512


@pytest.mark.parametrize("length", [128, 129])
def test_longest_sequence_is_what_the_model_takes(tiny_xlmr: Path, length: int) -> None:
    engine = make_engine(str(tiny_xlmr))
    ids = torch.full((1, length), 7)
    if length <= engine.backbone.max_length:
        assert engine.model.base_model(ids)[0].shape == (1, length, 32)
    else:
        with pytest.raises((IndexError, RuntimeError)):
            engine.model.base_model(ids)


def test_fingerprint_is_of_the_weights_whatever_the_precision(tiny_xlmr: Path, copy: Path) -> None:
    first = make_engine(str(tiny_xlmr))
    assert len(first.fingerprint) == 16
    low = make_engine(str(copy), "bf16")
    assert low.dtype == torch.bfloat16
    assert low.fingerprint == first.fingerprint


def test_fingerprint_changes_with_one_weight(tiny_xlmr: Path, copy: Path) -> None:
    path = copy / "model.safetensors"
    weights = load_file(path)
    key = "encoder.layer.1.attention.self.key.weight"
    weights[key][3, 5] += 1e-6
    save_file(weights, path, metadata={"format": "pt"})
    assert make_engine(str(copy)).fingerprint != make_engine(str(tiny_xlmr)).fingerprint


def test_fingerprint_without_pooler(tiny_xlmr: Path, copy: Path) -> None:
    path = copy / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if not k.startswith("pooler.")}
    save_file(weights, path, metadata={"format": "pt"})
    assert make_engine(str(copy)).fingerprint == make_engine(str(tiny_xlmr)).fingerprint


def test_short_names_stand_for_hub_ids() -> None:
    assert hub_id("xlm-roberta-large") == "FacebookAI/xlm-roberta-large"
    assert hub_id("xlm-roberta-base@main") == "FacebookAI/xlm-roberta-base"
    assert hub_id("someone/else@v1") == "someone/else"


# The Hub


@pytest.fixture(scope="module")
def root(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hub's repositories: in one file, in shards, pickled, gated, without a shard."""
    root = tmp_path_factory.mktemp("hub") / "tiny"
    for name in ("plain", "gated", "pickled", "sharded", "lacking"):
        shutil.copytree(tiny_xlmr, root / name)
    (root / "gated" / "GATED").write_text("")
    torch.save(load_file(tiny_xlmr / "model.safetensors"), root / "pickled/pytorch_model.bin")
    model = XLMRobertaModel.from_pretrained(tiny_xlmr)
    for name in ("pickled", "sharded", "lacking"):
        (root / name / "model.safetensors").unlink()
    for name in ("sharded", "lacking"):
        model.save_pretrained(root / name, max_shard_size="60KB")
    shards = sorted((root / "lacking").glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    return root.parent


@pytest.fixture
def hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The Hub's address, and what it has been asked."""
    with serving(root) as served:
        yield served


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Asks for backbones at an address; the library's cache lasts for the test."""

    def ask(endpoint: str, *names: str, offline: bool = False) -> list[dict[str, Any]]:
        connect(monkeypatch, endpoint, tmp_path / "hf")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        return [found(name) for name in names]

    return ask


@pytest.fixture
def process(tmp_path: Path) -> Client:
    """The same in a new process, which is told by its environment as a user's is."""

    def ask(endpoint: str, *names: str, offline: bool = False) -> list[dict[str, Any]]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": endpoint,
            "HF_HUB_CACHE": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": str(int(offline)),
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "load_client.py"), *names],
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    return ask


@pytest.mark.whole
def test_from_the_hub_and_then_without_it(
    hub: tuple[str, list[str]], client: Client, process: Client, tiny_xlmr: Path
) -> None:
    endpoint, asked = hub
    expected = {
        "revision": COMMIT,
        "fingerprint": fingerprint(XLMRobertaModel.from_pretrained(tiny_xlmr).state_dict()),
        "ids": find_backbone(str(tiny_xlmr)).tokenizer("Ann and Bob")["input_ids"],
    }
    plain, sharded, pinned = client(endpoint, "tiny/plain", "tiny/sharded", f"tiny/plain@{COMMIT}")
    assert plain == {**expected, "slug": "tiny--plain"}
    assert sharded == {**expected, "slug": "tiny--sharded"}
    assert pinned == {**expected, "slug": f"tiny--plain@{COMMIT}"}
    assert len([line for line in asked if line.endswith("/plain/resolve/main/config.json")]) > 0
    weights = [
        line for line in asked if line.endswith("plain/resolve/" + COMMIT + "/model.safetensors")
    ]
    assert weights.count(weights[0]) == 1  # loaded once, though asked for twice

    # What is in the cache needs no Hub: neither where it is said so, nor where it does not answer.
    before = len(asked)
    for ask in (client, process):
        offline = ask(endpoint, "tiny/plain", "tiny/sharded", offline=True)
        assert offline == [plain, sharded]
    assert len(asked) == before
    assert client("http://127.0.0.1:9", "tiny/plain") == [plain]


def test_what_the_hub_does_not_give(hub: tuple[str, list[str]], client: Client) -> None:
    endpoint, asked = hub
    names = ["pickled", "gated", "lacking", "nowhere", "plain@v9"]
    answers = client(endpoint, *(f"tiny/{name}" for name in names), "not a/valid/id")
    lines = [str(answer["error"]) for answer in answers]
    assert all("\n" not in line for line in lines)
    pickled, gated, lacking, nowhere, revision, invalid = lines
    assert (
        pickled == "backbone 'tiny/pickled' has no safetensors weights, and pickles are not loaded"
    )
    assert not any(line.endswith(".bin") for line in asked)
    assert gated.startswith("backbone 'tiny/gated' is gated: ask for access")
    assert "backbone 'tiny/lacking' lacks model-00001-of-" in lacking
    assert nowhere.startswith("no backbone 'tiny/nowhere' on the Hub (misspelt, or private")
    assert revision.startswith("backbone 'tiny/plain' has no revision 'v9' on the Hub")
    assert invalid == "backbone folder not a/valid/id is not there"
    assert all(REMEDY in line for line in (gated, nowhere, revision))


@pytest.mark.parametrize("offline", [False, True])
def test_hub_out_of_reach(client: Client, offline: bool) -> None:
    (answer,) = client("http://127.0.0.1:9", "xlm-roberta-large", offline=offline)
    line = str(answer["error"])
    why = {True: "HF_HUB_OFFLINE switches the Hub off", False: "the Hub cannot be reached"}
    assert line.startswith(
        f"backbone 'FacebookAI/xlm-roberta-large' is not here, and {why[offline]}"
    )
    assert REMEDY in line and "did you mean" not in line


def test_misspelt_backbone(client: Client) -> None:
    names = ["embeded", "xlm-roberta-lagre"]
    lines = [str(answer["error"]) for answer in client("http://127.0.0.1:9", *names)]
    for line, meant in zip(lines, ["embedded", "xlm-roberta-large"], strict=True):
        assert line.endswith(f"; did you mean '{meant}'?") and REMEDY in line


@pytest.mark.parametrize("revision", ["../../secret", "/dev/zero", "a/../b", "a//b", "a\\b", "x/"])
@pytest.mark.parametrize("name", ["embedded", "someone/model"])
def test_a_revision_that_leads_out_of_the_cache_is_refused(name: str, revision: str) -> None:
    """The library reads, and writes, the file of that name beside its cache's own notes."""
    with pytest.raises(UserError, match="is no revision"):
        find_backbone(f"{name}@{revision}")
