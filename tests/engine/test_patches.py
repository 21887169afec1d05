"""The libraries alone still have the faults that are patched or worked around here.

Should one of these tests fail, a newer library has mended its fault: what stands in for it can go.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeGuard

import adapters
import pytest
import torch
from adapters.composition import BatchSplit, Fuse, Stack
from safetensors.torch import load_file
from transformers import PreTrainedModel

import adapter_stilts
from adapter_stilts.engine.patches import PATCHES, _check
from adapter_stilts.errors import FailureError

IDS = torch.arange(5, 17).reshape(2, 6)


@pytest.fixture
def model(tiny_xlmr: Path) -> Any:
    """A model of plain `adapters`, without anything of this package."""
    torch.manual_seed(0)
    made = adapters.XLMRobertaAdapterModel.from_pretrained(tiny_xlmr, dtype=torch.float32)
    return made.eval()


def add(model: Any, name: str, config: Any, *, zero: bool = False) -> None:
    """Adds a module that changes the output much, or not at all."""
    model.add_adapter(name, config=config)
    generator = torch.Generator().manual_seed(ord(name))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if f".{name}." in key:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise * (0.0 if zero else 0.3))


def output(model: Any, block: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    """What leaves the last layer with that composition."""
    model.set_active_adapters(block)
    with torch.inference_mode():
        found: torch.Tensor = model.base_model(ids).last_hidden_state
    return found


def test_a_lora_on_top_takes_away_what_is_below(model: Any) -> None:
    add(model, "a", "lora")
    add(model, "b", "lora", zero=True)
    stacked, plain = output(model, Stack("a", "b")), output(model, None)
    assert torch.allclose(stacked, plain)
    assert not torch.allclose(stacked, output(model, "a"), atol=1e-2)


def test_loras_cannot_be_fused(model: Any) -> None:
    add(model, "a", "lora")
    add(model, "b", "lora")
    model.add_adapter_fusion(Fuse("a", "b"))
    with pytest.raises(NotImplementedError, match=r"^$"):
        output(model, Fuse("a", "b"))


def test_a_stack_inside_a_fusion_is_not_what_it_is_alone(model: Any) -> None:
    for name in "ab":
        add(model, name, "seq_bn")
    model.add_adapter_fusion(["a", "b"], name="f")

    def twice(block: Any) -> torch.Tensor:
        """A fusion of a source with itself, which should change nothing."""
        return output(model, Fuse(block, block, name="f"))

    assert torch.allclose(twice("a"), output(model, "a"), atol=1e-3)
    stack = Stack("a", "b")
    assert not torch.allclose(twice(stack), output(model, stack), atol=0.1)


def test_a_batch_of_several_modules_is_not_what_each_is_alone(model: Any) -> None:
    for name in "ab":
        add(model, name, "seq_bn")
    stack = Stack("a", "b")
    split = output(model, BatchSplit(stack, "b", batch_sizes=[1, 1]))
    assert torch.allclose(split[1:], output(model, "b", IDS[1:]), atol=1e-5)
    assert not torch.allclose(split[:1], output(model, stack, IDS[:1]), atol=0.1)


def test_a_batch_of_loras_cannot_leave_layers_out(model: Any) -> None:
    add(model, "a", adapters.LoRAConfig(leave_out=[0]))
    add(model, "b", "lora")
    with pytest.raises(TypeError):
        output(model, BatchSplit("b", "a", batch_sizes=[1, 1]))


def test_heads_are_told_apart_by_how_their_names_begin(model: Any, tmp_path: Path) -> None:
    """`native.drop_other_heads` takes out again what is written too much."""
    for name in ("squad", "squad-v2"):
        model.add_adapter(name, config="seq_bn")
        model.add_classification_head(name, num_labels=2)
    model.save_adapter(str(tmp_path), "squad", with_head=True, use_safetensors=True)
    saved = load_file(tmp_path / "model_head.safetensors")
    assert {key.split(".")[1] for key in saved} == {"squad", "squad-v2"}


def test_recomputing_takes_no_other_contexts(model: Any) -> None:
    """`recompute_activations` therefore takes the method of transformers."""
    add(model, "a", "seq_bn")
    options = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), nullcontext())}
    model.gradient_checkpointing_enable(options)
    with pytest.raises(TypeError, match="context_fn"):
        model.train().base_model(IDS)
    PreTrainedModel.gradient_checkpointing_enable(model, options)
    model.train().base_model(IDS)


def test_another_version_is_refused_in_one_line() -> None:
    for each in PATCHES:
        _check(each)
    changed = dataclasses.replace(PATCHES[0], takes=("adapter_setup", "state"))
    gone = dataclasses.replace(PATCHES[1], method="compose_everything")
    for patch in (changed, gone):
        with pytest.raises(FailureError, match=rf"adapters {adapters.__version__}.*1\.3") as caught:
            _check(patch)
        assert patch.method in str(caught.value) and "\n" not in str(caught.value)


def test_nothing_else_of_the_libraries_is_overridden() -> None:
    """Neither a private member, nor one of a class or a module of theirs."""
    libraries = {"adapters", "peft", "transformers", "datasets", "huggingface_hub"}
    for path in Path(adapter_stilts.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        theirs = dict(_imported(tree, libraries))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [theirs[base.id] for base in node.bases if _is_name(base, theirs)]
                for base in bases:
                    own = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                    assert not set(filter(_is_private, own)) & set(dir(base)), (path, node.name)
            if isinstance(node, ast.Attribute) and _is_name(node.value, theirs):
                assert not _is_private(node.attr), (path, node.attr)
                assert isinstance(node.ctx, ast.Load), (path, node.attr)


def _imported(tree: ast.AST, libraries: set[str]) -> Iterator[tuple[str, Any]]:
    """What a file imports of the libraries, by the names it has there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in libraries:
            module = importlib.import_module(str(node.module))
            for each in node.names:
                assert not _is_private(each.name), (node.module, each.name)
                yield each.asname or each.name, getattr(module, each.name)
        elif isinstance(node, ast.Import):
            for each in node.names:
                if each.name.split(".")[0] in libraries:
                    yield each.asname or each.name, importlib.import_module(each.name)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _is_name(node: ast.AST, known: dict[str, Any]) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id in known
