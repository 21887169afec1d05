"""Modules of plain `adapters` and plain `peft`, pulled as they are made by these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel, DoubleSeqBnConfig, SeqBnInvConfig
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from adapter_stilts import pull
from adapter_stilts.engine.engine import Engine, forward
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.local import load_composition
from hub_kit import connect, files_of
from made_modules import make_engine, save_made, token_batch
from writable_hub import Hub, serving

REPO = "someone/sw-wiki"


@pytest.fixture
def hub(tmp_path: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as found:
        connect(monkeypatch, found.url, tmp_path / "hf")
        yield found


@pytest.fixture
def engine(tiny_xlmr: Path) -> Engine:
    made: Engine = make_engine(str(tiny_xlmr))
    return made


@pytest.fixture
def plain(tiny_xlmr: Path, tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """Saves an adapter with plain `adapters`; returns its folder and the model."""

    def save(config: Any, *, head: bool = False) -> tuple[Path, Any]:
        torch.manual_seed(3)
        model = AutoAdapterModel.from_pretrained(tiny_xlmr)
        model.add_adapter("sw", config=config, set_active=True)
        for key, parameter in model.named_parameters():
            if "sw" in key.split("."):
                torch.nn.init.normal_(parameter, std=0.3)
        if head:
            model.add_masked_lm_head("sw")
        model.save_adapter(str(tmp_path / "plain"), "sw", with_head=head, use_safetensors=True)
        return tmp_path / "plain", model.eval()

    return save


@pytest.fixture
def lora(tiny_xlmr: Path, tmp_path: Path) -> Callable[..., Path]:
    """Saves a LoRA with plain `peft`."""

    def save(**changes: Any) -> Path:
        torch.manual_seed(3)
        given = {"r": 4, "lora_alpha": 12, "target_modules": ["query", "value"], **changes}
        model = get_peft_model(AutoModel.from_pretrained(tiny_xlmr), LoraConfig(**given))
        for key, parameter in model.named_parameters():
            if ".lora_" in key:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(tmp_path / "lora")
        return tmp_path / "lora"

    return save


def hidden(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.as_tensor(model(**batch)[0])


def test_language_adapter_below_a_task(
    hub: Hub, engine: Engine, plain: Callable[..., tuple[Path, Any]], zoo: Path
) -> None:
    folder, model = plain(SeqBnInvConfig(), head=True)
    hub.add(REPO, files_of(folder))
    record = pull(REPO).record
    assert (record.name, record.method, record.scores) == ("sw-wiki", "invertible", {})
    assert record.backbone["model_type"] == "xlm-roberta"
    about = json.loads((pull(REPO).path / "adapter_config.json").read_text())
    assert about["name"] == record.name  # as in every module of ours
    batch = token_batch(engine, "span")
    composed = load_composition(engine, REPO)
    assert composed.name == "sw-wiki"
    found = forward(engine, batch).last_hidden_state
    expected = hidden(model.base_model, batch)
    assert not torch.allclose(
        expected, hidden(AutoModel.from_pretrained(engine.backbone.path), batch)
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    save_made(engine, "squad", "bottleneck", "span", zoo / "tiny" / "squad")
    both = load_composition(engine, f"stack({REPO}, squad)")
    assert both.expression == "stack(sw-wiki, squad)"
    assert forward(engine, batch).start_logits.shape == batch["input_ids"].shape


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_rslora": True},
        {"target_modules": ["query", "key", "value", "intermediate.dense"]},
        {"layers_to_transform": [0, 2]},
        pytest.param(
            {"fan_in_fan_out": True},
            # It says that it does not, since these layers are no `Conv1D`, and so must we.
            marks=pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to True"),
        ),
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "orthogonal"},
        {"exclude_modules": ["encoder.layer.1.attention.self.query"], "target_modules": ["query"]},
        {"modules_to_save": ["pooler"]},
    ],
)
def test_lora_of_peft_computes_the_same(
    hub: Hub, engine: Engine, lora: Callable[..., Path], changes: dict[str, Any]
) -> None:
    folder = lora(**changes)
    hub.add(REPO, files_of(folder))
    record = pull(REPO).record
    assert record.method == (
        "lora-all" if "intermediate.dense" in changes.get("target_modules", ()) else "lora"
    )
    batch = token_batch(engine, "span")
    load_composition(engine, REPO)
    base = AutoModel.from_pretrained(engine.backbone.path)
    expected = hidden(PeftModel.from_pretrained(base, folder).eval(), batch)
    found = forward(engine, batch).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_folder_of_plain_peft_is_used_as_it_is(
    engine: Engine, lora: Callable[..., Path], zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lora()
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("ADSTILTS_CACHE", str(folder.parent / "cache"))
    before = files_of(folder)
    batch = token_batch(engine, "span")
    load_composition(engine, "./lora")
    base = AutoModel.from_pretrained(engine.backbone.path)
    expected = hidden(PeftModel.from_pretrained(base, folder).eval(), batch)
    found = forward(engine, batch).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    save_made(engine, "squad", "bottleneck", "span", zoo / "tiny" / "squad")
    both = load_composition(engine, "stack(./lora, squad)")
    assert both.expression == "stack(lora, squad)"
    stacked = forward(engine, batch).start_logits
    load_composition(engine, "squad")
    assert not torch.allclose(stacked, forward(engine, batch).start_logits)
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"rank_pattern": {"query": 2}}, "rank_pattern"),
        ({"target_modules": ["attention.output.dense"]}, "no LoRA here"),
        ({"alpha_pattern": {"query": 2}}, "alpha_pattern"),
        ({"bias": "lora_only"}, "bias"),
        pytest.param(
            {"lora_bias": True},
            "lora_bias",
            # peft takes the biases that it has itself made for matrices that are not whole.
            marks=pytest.mark.filterwarnings("ignore:.*have invalid shape"),
        ),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
        ({"init_lora_weights": "pissa_niter_2"}, "init_lora_weights 'pissa_niter_2'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights 'olora'"),
        ({"modules_to_save": ["LayerNorm"]}, "LayerNorm"),
        ({"modules_to_save": ["pooler", "word_embeddings"]}, "word_embeddings"),
        ({"trainable_token_indices": [5]}, "trainable_token_indices"),
        ({"target_modules": ["word_embeddings"]}, "no LoRA here"),
    ],
)
def test_lora_that_cannot_be_expressed(
    hub: Hub, lora: Callable[..., Path], changes: dict[str, Any], words: str
) -> None:
    hub.add(REPO, files_of(lora(**changes)))
    with pytest.raises(UserError, match=words) as caught:
        pull(REPO)
    assert str(caught.value).startswith(f"{REPO}/")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("init_lora_weights", "corda"),
        ("init_lora_weights", "lora_ga"),
        ("init_lora_weights", "something-new"),
        ("init_lora_weights", ["pissa"]),
        ("loftq_config", {"loftq_bits": 4}),
        ("target_parameters", ["query.weight"]),
        ("layer_replication", [[0, 2]]),
        ("alora_invocation_tokens", [5]),
        ("a_setting_of_the_future", True),
        ("modules_to_save", "classifier"),
        ("use_rslora", "yes"),
    ],
)
def test_settings_that_are_not_plain(
    engine: Engine, lora: Callable[..., Path], key: str, value: Any
) -> None:
    path = lora() / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=key) as caught:
        load_composition(engine, str(path.parent))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.encoder.layer.0.output.LayerNorm.weight",
        "base_model.model.embeddings.word_embeddings.weight",
        "base_model.model.encoder.layer.0.attention.self.query.bias",
        "encoder.layer.0.output.dense.weight",
        "base_model.model.encoder.layer.0.attention.self.query.lora_B.bias",
    ],
)
def test_weights_beside_lora_and_head(engine: Engine, lora: Callable[..., Path], key: str) -> None:
    """They change the trunk, whatever the configuration says."""
    path = lora() / "adapter_model.safetensors"
    save_file({**load_file(path), key: torch.ones(32)}, path)
    with pytest.raises(UserError, match=key.rpartition(".")[2]):
        load_composition(engine, str(path.parent))


def test_a_revision_of_the_backbone_is_kept(hub: Hub, lora: Callable[..., Path]) -> None:
    path = lora() / "adapter_config.json"
    about = {**json.loads(path.read_text()), "revision": "abc123"}
    about["base_model_name_or_path"] = "FacebookAI/xlm-roberta-base"
    path.write_text(json.dumps(about))
    hub.add(REPO, files_of(path.parent))
    assert pull(REPO).record.backbone["revision"] == "abc123"


def test_kinds_that_are_not_supported(
    hub: Hub, plain: Callable[..., tuple[Path, Any]], lora: Callable[..., Path]
) -> None:
    files = files_of(plain(SeqBnInvConfig())[0])
    about = json.loads(files["adapter_config.json"])
    about["config"]["architecture"] = "prefix_tuning"
    files["adapter_config.json"] = json.dumps(about).encode()
    hub.add(REPO, files)
    with pytest.raises(UserError, match="'prefix_tuning' are not supported"):
        pull(REPO)
    files = files_of(lora())
    about = json.loads(files["adapter_config.json"])
    files["adapter_config.json"] = json.dumps({**about, "peft_type": "LOHA"}).encode()
    hub.add(REPO, files)
    with pytest.raises(UserError, match="'LOHA' are not supported"):
        pull(REPO)


def test_other_methods_by_their_names(hub: Hub, plain: Callable[..., tuple[Path, Any]]) -> None:
    hub.add(REPO, files_of(plain(DoubleSeqBnConfig())[0]))
    assert pull(REPO).record.method == "double-bottleneck"


def test_a_module_for_another_backbone(
    hub: Hub, engine: Engine, plain: Callable[..., tuple[Path, Any]]
) -> None:
    folder, _ = plain(SeqBnInvConfig())
    about = json.loads((folder / "adapter_config.json").read_text())
    files = files_of(folder)
    changed = {**about, "model_name": "xlm-roberta-base"}
    files["adapter_config.json"] = json.dumps(changed).encode()
    hub.add(REPO, files)
    with pytest.raises(UserError, match=r"'xlm-roberta-base'.*not for 'xlm-roberta-large'"):
        pull(REPO, backbone="xlm-roberta-large")
    engine.backbone = type(engine.backbone)("xlm-roberta-large", engine.backbone.path)
    with pytest.raises(UserError, match="was made for backbone 'xlm-roberta-base'"):
        load_composition(engine, REPO)


def test_weights_of_the_trunk_are_refused(
    hub: Hub, engine: Engine, plain: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    """The library would load any parameter that stands in the file."""
    folder, _ = plain(SeqBnInvConfig())
    weights = load_file(folder / "adapter.safetensors")
    trunk = "roberta.encoder.layer.0.attention.self.query.weight"
    save_file({**weights, trunk: torch.zeros(32, 32)}, folder / "adapter.safetensors")
    hub.add(REPO, files_of(folder))
    with pytest.raises(UserError, match=r"query\.weight' is no part of module 'sw'"):
        pull(REPO)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reduction_factor", 1e-9),
        ("reduction_factor", "16"),
        ("reduction_factor", {"default": 1e-9}),
        ("inv_adapter_reduction_factor", 1e-9),
        ("phm_layer", True),
        ("leave_out", "all"),
    ],
)
def test_configuration_beyond_the_weights(
    hub: Hub, plain: Callable[..., tuple[Path, Any]], key: str, value: Any
) -> None:
    """A matrix of hundreds of gigabytes is a number in a configuration."""
    folder, _ = plain(SeqBnInvConfig())
    about = json.loads((folder / "adapter_config.json").read_text())
    about["config"][key] = value
    (folder / "adapter_config.json").write_text(json.dumps(about))
    hub.add(REPO, files_of(folder))
    with pytest.raises(UserError, match=f"adapter_config.json: .*({key}|not supported)|{key}"):
        pull(REPO)


def test_weights_of_another_width(
    hub: Hub, engine: Engine, plain: Callable[..., tuple[Path, Any]]
) -> None:
    """Narrow weights could excuse a factor that makes a vast matrix of a wide trunk."""
    folder, _ = plain(SeqBnInvConfig(inv_adapter=None))
    key = "roberta.encoder.layer.0.output.adapters.sw.adapter_down.0.weight"
    save_file({key: torch.zeros(4, 1)}, folder / "adapter.safetensors")
    about = json.loads((folder / "adapter_config.json").read_text())
    about["config"]["reduction_factor"] = 0.25
    (folder / "adapter_config.json").write_text(json.dumps(about))
    hub.add(REPO, files_of(folder))
    with pytest.raises(UserError, match="for a backbone of another width than 32"):
        load_composition(engine, REPO)


def test_half_of_a_head_is_no_head(
    hub: Hub, plain: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    folder, _ = plain(SeqBnInvConfig(), head=True)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model_head.safetensors").unlink()
    hub.add(REPO, files_of(copy))
    found = pull(REPO)
    assert found.record.head == "embedding"
    assert not (found.path / "head_config.json").exists()
