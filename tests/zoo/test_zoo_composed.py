"""Compositions over modules on disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from adapter_stilts.compositions import as_text, as_texts
from adapter_stilts.engine.engine import forward
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.local import activate, load_composition
from adapter_stilts.zoo.resolve import load, resolve
from made_modules import logits_of, make_engine, save_made, token_batch


@pytest.fixture
def filled(tiny_xlmr: Path, zoo: Path) -> Path:
    """A zoo with squad, another module by itself, and one trained on top of squad."""
    engine = make_engine(str(tiny_xlmr))
    folder = zoo / "tiny"
    save_made(engine, "squad", "bottleneck", "span", folder / "squad", run="a" * 16)
    save_made(engine, "squad-v2", "bottleneck", "span", folder / "squad-v2", run="b" * 16)
    bases = {"squad": {"run": "a" * 16, "path": str(folder / "squad")}}
    above = {"composition": "stack(squad, qa)", "bases": bases, "run": "c" * 16}
    save_made(engine, "qa", "lora", "span", folder / "qa-on-squad", **above)
    return folder


def test_a_module_brings_what_it_stands_on(filled: Path) -> None:
    for text in (
        "qa-on-squad",
        "stack(squad, qa)",
        "stack( squad,qa)",
        str(filled / "qa-on-squad"),
    ):
        found = resolve(text)
        assert str(found.expression) == "stack(squad, qa)"
        assert {name: reference.folder.name for name, reference in found.modules.items()} == {
            "squad": "squad",
            "qa": "qa-on-squad",
        }
        assert found.record.name == "qa"
    assert len({resolve(text).identity for text in ("qa-on-squad", "stack(squad, qa)")}) == 1
    assert resolve("squad").identity != resolve("qa-on-squad").identity


def test_a_base_is_found_where_it_lies_now(filled: Path, tmp_path: Path) -> None:
    (filled / "squad").rename(filled / "renamed")
    assert resolve("qa-on-squad").modules["renamed"].folder == filled / "renamed"
    shutil.rmtree(filled / "renamed")
    with pytest.raises(UserError, match=r"trained on top of 'squad' \(run aaaa"):
        resolve("qa-on-squad")


def test_another_module_of_that_name_is_no_base(filled: Path) -> None:
    shutil.rmtree(filled / "squad")
    shutil.copytree(filled / "squad-v2", filled / "squad")
    with pytest.raises(UserError, match="trained on top of 'squad'"):
        resolve("qa-on-squad")


def test_free_composition(filled: Path) -> None:
    found = resolve("stack(squad-v2, squad)")
    assert [reference.record.name for reference in found.modules.values()] == ["squad-v2", "squad"]
    assert found.identity != resolve("stack(squad, squad-v2)").identity


def test_the_same_module_twice(filled: Path) -> None:
    with pytest.raises(UserError, match=re.escape("'squad' is in it twice")):
        resolve("stack(squad, squad)")


def test_a_copy_of_a_module_is_the_same_one(filled: Path) -> None:
    shutil.copytree(filled / "squad", filled / "copied")
    with pytest.raises(UserError, match=r"'copied' is in it twice, as 'squad' too"):
        resolve("average(squad, copied)")


@pytest.mark.parametrize("text", ["squad", "qa-on-squad", "stack(squad-v2, squad)"])
def test_a_module_in_memory_stands_for_its_files(filled: Path, text: str) -> None:
    module = load(text)
    assert resolve(as_text(module)).identity == resolve(text).identity
    assert as_texts(module) == as_texts([module])
    assert str(filled) in module.loaded_from


def test_unknown_module_in_a_composition(filled: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'squad'"):
        resolve("stack(sqad, qa)")


def test_modules_of_two_backbones(filled: Path, embedded: str, zoo: Path) -> None:
    save_made(make_engine(embedded), "mnli", "lora", "classification", zoo / "other" / "mnli")
    with pytest.raises(UserError, match=r"'squad' was made for backbone .* 'mnli' for 'embedded'"):
        resolve("stack(squad, mnli)")


def test_stack_computes_what_both_modules_do(filled: Path, tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    batch = token_batch(engine, "span")
    logits = {}
    for text in ("stack(squad, qa)", "squad", "squad-v2", "stack(squad-v2, squad)"):
        composed = load_composition(engine, text)
        assert composed.expression == text
        logits[text] = logits_of(forward(engine, batch), batch)
    again = load_composition(engine, "stack(squad, qa)")
    assert len(engine.names) == 3  # nothing is loaded twice
    assert torch.equal(logits_of(forward(engine, batch), batch), logits["stack(squad, qa)"])
    different = list(logits.values())
    for place, one in enumerate(different):
        for other in different[place + 1 :]:
            assert not torch.allclose(one, other, atol=1e-4)
    activate(engine, again)
    fresh = make_engine(str(tiny_xlmr))
    load_composition(fresh, "stack(squad, qa)")
    assert torch.equal(logits_of(forward(fresh, batch), batch), logits["stack(squad, qa)"])


def test_plain_backbone(filled: Path, tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    batch = token_batch(engine, "span")
    plain = load_composition(engine, "none")
    before = forward(engine, batch).last_hidden_state
    load_composition(engine, "squad")
    assert not torch.equal(engine.model.base_model(**batch).last_hidden_state, before)
    activate(engine, plain)
    assert torch.equal(forward(engine, batch).last_hidden_state, before)
