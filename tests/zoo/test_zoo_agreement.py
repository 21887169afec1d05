"""Record, head, weights and task say the same, or the module is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapter_stilts.engine.engine import Engine
from adapter_stilts.engine.native import CONFIG, HEAD_CONFIG, HEAD_WEIGHTS, WEIGHTS
from adapter_stilts.errors import UserError
from adapter_stilts.hashing import file_sha256
from adapter_stilts.hub.guard import RemoteFile
from adapter_stilts.zoo.adopt import Offer, adopt
from adapter_stilts.zoo.local import load_module
from adapter_stilts.zoo.push import export
from adapter_stilts.zoo.record import RECORD
from adapter_stilts.zoo.verify import verify
from made_modules import make_engine, save_made

METHODS = {"lora": "classification", "bottleneck": "choice", "parallel-bottleneck": "tagging"}


@pytest.fixture(scope="module")
def victim(tiny_xlmr: Path) -> Engine:
    engine: Engine = make_engine(str(tiny_xlmr))
    return engine


@pytest.fixture(scope="module")
def made(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module of each method."""
    root = tmp_path_factory.mktemp("made")
    engine = make_engine(str(tiny_xlmr))
    for method, head in METHODS.items():
        save_made(engine, method, method, head, root / method)
    return root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda method: Path(shutil.copytree(made / method, tmp_path / method))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    about = json.loads(path.read_text("utf-8"))
    change(about)
    path.write_text(json.dumps(about), "utf-8")


def rehash(folder: Path) -> None:
    """As somebody would who made the module so."""
    edit(
        folder / RECORD,
        lambda record: record.update(
            files={name: file_sha256(folder / name) for name in record["files"]}
        ),
    )


SEEN = {"examples": 3}


def refused(folder: Path, engine: Engine, *named: str) -> None:
    """By everything that takes a module, in one line with the name at fault."""
    rehash(folder)
    files = {path.relative_to(folder).as_posix(): RemoteFile(1) for path in folder.rglob("*")}
    offer = Offer("someone/thing", "a" * 40, files)
    ways: list[Callable[[], object]] = [
        lambda: load_module(engine, folder, name="x"),
        lambda: export(folder, folder.parent / "out", library="module", overwrite=True),
        lambda: adopt(offer, Path(shutil.copytree(folder, folder.parent / "copy"))),
    ]
    for way in ways:
        with pytest.raises(UserError) as caught:
            way()
        assert all(each in str(caught.value) for each in named)
        assert "\n" not in str(caught.value)
    found = [check.detail for check in verify(folder, load=False) if check.fine is False]
    assert any(all(each in detail for each in named) for detail in found)
    assert "x" not in engine.modules
    assert "x" not in engine.model.adapters_config.adapters
    assert "x" not in engine.model.heads


@pytest.mark.parametrize("method", METHODS)
def test_untouched_ones_load(copy: Callable[[str], Path], victim: Engine, method: str) -> None:
    folder = copy(method)
    rehash(folder)
    load_module(victim, folder, name=f"fine-{method}")
    assert all(check.fine is not False for check in verify(folder, load=False))


@pytest.mark.parametrize(
    ("method", "change", "named"),
    [
        ("lora", {"method": "bottleneck"}, "method"),
        ("lora", {"method": "lora-all"}, "method"),
        ("lora", {"method": "head"}, "method"),
        ("bottleneck", {"method": "double-bottleneck"}, "method"),
        ("bottleneck", {"method": "invertible"}, "method"),
        ("lora", {"head": "span"}, "head"),
        ("lora", {"task": "squad", "head": "span"}, "head"),
        ("lora", {"task": "squad"}, "head"),
        ("lora", {"task": "qqp"}, "label2id"),
        ("bottleneck", {"task": "commonsense-qa"}, "num_choices"),
        ("lora", {"data": {"train": SEEN, "dev": SEEN, "labels": 7}}, "data.labels"),
    ],
)
def test_records_of_other_modules(
    copy: Callable[[str], Path], victim: Engine, method: str, change: dict[str, Any], named: str
) -> None:
    folder = copy(method)
    edit(folder / RECORD, lambda record: record.update(change))
    edit(folder / RECORD, lambda record: record["recipe"].update(method=record["method"]))
    refused(folder, victim, named)


def test_weights_that_the_record_does_not_know(copy: Callable[[str], Path], victim: Engine) -> None:
    folder = copy("lora")
    edit(folder / RECORD, lambda record: record["files"].pop(WEIGHTS))
    refused(folder, victim, WEIGHTS)


@pytest.mark.parametrize(
    ("label2id", "named"),
    [
        ({"entailment": 0, "neutral": 0, "contradiction": 2}, "label2id"),
        ({"entailment": 0, "neutral": 1, "contradiction": 3}, "label2id"),
        ({"entailment": 0, "neutral": 1}, "label2id"),
        ({"entailment": 1, "neutral": 0, "contradiction": 2}, "label2id"),
        ({"yes": 0, "no": 1, "maybe": 2}, "label2id"),
        ({"entailment": 0, "neutral": True, "contradiction": 2}, "label2id"),
        ({"entailment": 0, "neutral": 1, "contra\ndiction": 2}, "label2id"),
    ],
)
def test_labels_of_other_heads(
    copy: Callable[[str], Path], victim: Engine, label2id: dict[str, Any], named: str
) -> None:
    folder = copy("lora")
    edit(folder / HEAD_CONFIG, lambda about: about["config"].update(label2id=label2id))
    refused(folder, victim, named)


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("lora", "alpha", 1e308),
        ("lora", "alpha", -1e30),
        ("lora", "alpha", True),
        ("lora", "alpha", "16"),
        ("lora", "use_gating", "yes"),
        ("lora", "intermediate_lora", 1),
        ("parallel-bottleneck", "scaling", 1e308),
        ("parallel-bottleneck", "scaling", "vast"),
        ("parallel-bottleneck", "scaling", None),
        ("bottleneck", "residual_before_ln", "x"),
        ("bottleneck", "residual_before_ln", 3),
        ("bottleneck", "residual_before_ln", None),
        ("bottleneck", "residual_before_ln", [True]),
        ("bottleneck", "original_ln_before", 0),
        ("bottleneck", "non_linearity", 7),
        ("bottleneck", "dropout", 2.0),
        ("bottleneck", "leave_out", [-1]),
    ],
)
def test_settings_of_a_wrong_type_or_size(
    copy: Callable[[str], Path], victim: Engine, method: str, key: str, value: Any
) -> None:
    folder = copy(method)
    edit(folder / CONFIG, lambda about: about["config"].update({key: value}))
    refused(folder, victim, key)


@pytest.mark.parametrize("name", [WEIGHTS, HEAD_WEIGHTS])
@pytest.mark.parametrize(
    ("what", "named"),
    [
        (lambda x: x.fill_(float("nan")), "not finite"),
        (lambda x: x.index_put_((torch.tensor(0),), torch.tensor(float("inf"))), "not finite"),
        (lambda x: x.index_put_((torch.tensor(0),), torch.tensor(-float("inf"))), "not finite"),
        (lambda x: x.fill_(1e30), "1e+12"),
        (lambda x: x.double().fill_(1e300), "1e+12"),
        (lambda x: x.half().fill_(float("nan")), "not finite"),
        (lambda x: x.to(torch.int64), "int64"),
        (lambda x: x.to(torch.int8), "int8"),
        (lambda x: x.bool(), "bool"),
        (lambda x: x.to(torch.complex64), "complex64"),
    ],
)
def test_weights_that_are_none(
    copy: Callable[[str], Path],
    victim: Engine,
    name: str,
    what: Callable[[torch.Tensor], torch.Tensor],
    named: str,
) -> None:
    """Neither loaded nor converted."""
    folder = copy("lora")
    tensors = load_file(folder / name)
    key = min(tensors)
    save_file({**tensors, key: what(tensors[key].clone()).contiguous()}, folder / name)
    refused(folder, victim, key, named)


@pytest.mark.parametrize("composition", ["good", "stack(lora, good)", "fuse(a, b)", "none", "(("])
def test_compositions_that_end_in_another_module(
    copy: Callable[[str], Path], victim: Engine, composition: str
) -> None:
    folder = copy("lora")
    edit(folder / RECORD, lambda record: record.update(composition=composition))
    refused(folder, victim, "composition")


def test_spans_of_other_than_two_values(tiny_xlmr: Path, tmp_path: Path, victim: Engine) -> None:
    """A begin and an end, whatever the head's weights have room for."""
    folder = tmp_path / "qa"
    save_made(make_engine(str(tiny_xlmr)), "qa", "lora", "span", folder)
    tensors = load_file(folder / HEAD_WEIGHTS)
    save_file({key: torch.cat([x, x]) for key, x in tensors.items()}, folder / HEAD_WEIGHTS)
    labels = {f"LABEL_{number}": number for number in range(4)}
    edit(
        folder / HEAD_CONFIG,
        lambda about: about["config"].update(num_labels=4, label2id=labels),
    )
    refused(folder, victim, "num_labels")


@pytest.mark.parametrize("name", [WEIGHTS, HEAD_WEIGHTS])
@pytest.mark.parametrize("damage", ["lacking", "foreign", "shape"])
def test_weights_of_another_module(
    copy: Callable[[str], Path], victim: Engine, name: str, damage: str
) -> None:
    """No weight stays what chance made it, and none is passed over."""
    folder = copy("parallel-bottleneck")
    tensors = load_file(folder / name)
    key = min(key for key in tensors if key.endswith(".weight"))
    if damage == "lacking":
        del tensors[key]
    elif damage == "foreign":
        tensors[key.replace(".layer.0.", ".layer.99.").replace(".1.weight", ".9.weight")] = (
            tensors.pop(key) if name == WEIGHTS else tensors[key].clone()
        )
    else:
        tensors[key] = tensors[key][:1].clone()
    save_file(tensors, folder / name)
    rehash(folder)
    with pytest.raises(UserError) as caught:
        load_module(victim, folder, name="x")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_longer_than_the_backbone(copy: Callable[[str], Path], victim: Engine) -> None:
    folder = copy("lora")
    edit(folder / RECORD, lambda record: record["recipe"].update(max_length=129))
    with pytest.raises(UserError, match=r"recipe\.max_length"):
        load_module(victim, folder, name="x")
