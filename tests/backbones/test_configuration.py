"""A backbone's configuration: plain JSON, a closed list of architectures, sensible values."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import hostile
from adapter_stilts.backbones import configuration, find_backbone
from adapter_stilts.environment import kernels_warning
from adapter_stilts.errors import RefusedError


@pytest.fixture
def copy(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """The tiny XLM-R, to be spoilt."""
    return Path(shutil.copytree(tiny_xlmr, tmp_path / "copy"))


def change(folder: Path, name: str = "config.json", **changes: Any) -> None:
    """Writes other values into a file."""
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


SIZES = [name for name, each in configuration.Fields.model_fields.items() if each.is_required()][1:]


def refusal(folder: Path) -> str:
    """The one line."""
    with pytest.raises(RefusedError) as caught:
        find_backbone(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_code_is_refused(
    tiny_xlmr: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(hostile.spoil(tiny_xlmr, tmp_path / "hostile", kind))
    assert hostile.KINDS[kind][1] in line
    assert hostile.MARK not in capsys.readouterr().out


@pytest.mark.parametrize(
    "field",
    [
        {"auto_map": None},
        {"trust_remote_code": False},
        {"a": [{"b": {"auto_map": {}}}]},
        {"_attn_implementation": "someone/kernel"},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation_autoset": "someone/kernel"},
        {"vision": {"_attn_implementation_internal": "x/y"}},
        {"custom_generate": "someone/code"},
    ],
)
def test_fields_that_name_code_at_any_depth(copy: Path, field: dict[str, Any]) -> None:
    change(copy, **field)
    assert "would run code of a stranger's" in refusal(copy)


def test_what_libraries_leave_behind_is_accepted(copy: Path) -> None:
    ignored: dict[str, Any] = {
        "_attn_implementation_autoset": True,
        "_name_or_path": "/nowhere",
        "torch_dtype": "os.system",
        "transformers_weights": "../../other.bin",
        "id2label": {"0": "x"},
        "pruned_heads": {},
        "is_decoder": False,
        "quantization_config": None,
        "prediction_heads": {"default": {"head_type": "classification"}},
        "adapters": {"adapters": {"x": "y"}},
        "name_or_path": "someone/else",
        "unknown": {"deep": [1, 2]},
    }
    change(copy, **ignored)
    config: Any = find_backbone(str(copy)).config
    assert config._attn_implementation == configuration.ATTENTION == "sdpa"
    known = {"id2label", "pruned_heads", "is_decoder", "_name_or_path"}
    assert not ignored.keys() & set(vars(config)) - known
    assert not config._name_or_path
    assert config.id2label != {0: "x"} and config.dtype is None


@pytest.mark.parametrize(
    "kind", ["lightglue", "llama", "no-such-model", "xmod", "modernbert", "", None, 3, ["bert"], {}]
)
def test_other_architectures(copy: Path, kind: Any) -> None:
    change(copy, model_type=kind)
    line = refusal(copy)
    assert "bert, roberta, xlm-roberta" in line and "is not the configuration of a known" in line


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", '"x"', "[" * 100_000, '{"a": NaN}', ""])
def test_no_configuration(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    assert "config.json" in refusal(copy)


def test_large_configuration(copy: Path) -> None:
    (copy / "config.json").write_text('{"x": "' + "x" * (5 << 20) + '"}')
    assert "larger than 4 MB" in refusal(copy)


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize(
    "value", [0, -1, 10**6 * 10**6, 10**400, 1.5, 32.0, True, "32", None, [], {}, "1e9"]
)
def test_absurd_sizes(copy: Path, key: str, value: Any) -> None:
    change(copy, **{key: value})
    assert f"'{key}'" in refusal(copy)


@pytest.mark.parametrize("key", SIZES)
def test_missing_size(copy: Path, key: str) -> None:
    path = copy / "config.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    assert f"'{key}' is missing" in refusal(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_dropout_prob", -0.1),
        ("hidden_dropout_prob", "0"),
        ("attention_probs_dropout_prob", 2),
        ("layer_norm_eps", 0),
        ("layer_norm_eps", 1e300),
        ("initializer_range", [1]),
        ("pad_token_id", -1),
        ("pad_token_id", 10**9),
        ("pad_token_id", True),
        ("pad_token_id", 127),  # of 130 positions
        ("eos_token_id", "2"),
        ("hidden_act", "eval"),
        ("hidden_act", {"x": 1}),
        ("position_embedding_type", "relative_key"),
        ("num_attention_heads", 5),
        ("is_decoder", True),
        ("is_encoder_decoder", 1),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}),
    ],
)
def test_values_that_make_no_sense(copy: Path, key: str, value: Any) -> None:
    change(copy, **{key: value})
    named = "max_position_embeddings" if value == 127 else key
    assert f"'{named}'" in refusal(copy)


def test_no_call_of_ours_lets_a_folder_choose_what_is_loaded() -> None:
    """`from_pretrained` is called once, without a folder, and `Auto*` classes never."""
    source = Path(configuration.__file__).parents[1]
    calls = []
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("from_pretrained", "from_config"):
                calls.append(path.name)
            if isinstance(node, ast.Name | ast.alias):
                name = node.id if isinstance(node, ast.Name) else node.name
                assert not name.startswith(("AutoModel", "AutoConfig", "AutoTok", "AutoAdapter"))
    assert calls == ["engine.py"]


@pytest.mark.parametrize(
    ("library", "there", "warned"),
    [
        ("4.57.6", True, True),
        ("5.2.9", True, True),
        ("5.3.0", True, False),
        ("4.57.6", False, False),
    ],
)
def test_doctor_warns_of_kernels(
    monkeypatch: pytest.MonkeyPatch, library: str, there: bool, warned: bool
) -> None:
    monkeypatch.setattr("adapter_stilts.environment.version", lambda name: library)
    monkeypatch.setattr(
        "adapter_stilts.environment.importlib.util.find_spec", lambda name: there or None
    )
    assert ("warning" in kernels_warning()) == warned
