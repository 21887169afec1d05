"""Merges of modules on disk: unwritten in compositions, and written as modules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import AutoAdapterModel
from huggingface_hub.repocard import metadata_load
from peft import PeftModel
from torch import Tensor
from transformers import AutoModel

from adapter_stilts import load, merge
from adapter_stilts.engine.engine import Engine, add_module, forward, module_parameters
from adapter_stilts.engine.methods import MethodOptions, get_method
from adapter_stilts.errors import UserError
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.training.target import resolve_sources
from adapter_stilts.zoo.local import activate, load_composition, save_module
from adapter_stilts.zoo.resolve import resolve
from made_modules import LABELS, logits_of, make_engine, make_module, make_record, token_batch

MODULES: Any = {
    "squad": ("bottleneck", "span", ()),
    "mnli": ("bottleneck", "classification", ()),
    "top": ("bottleneck", "span", ()),
    "short": ("bottleneck", "span", (0,)),
    "twice": ("double-bottleneck", "span", ()),
    "squad-lora": ("lora", "span", ()),
    "mnli-lora": ("lora", "classification", ()),
    "dora": ("dora", "span", ()),
    "probe": ("head", "span", ()),
}


@pytest.fixture(scope="session")
def made(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of modules of several kinds."""
    zoo = tmp_path_factory.mktemp("merge-zoo")
    engine = make_engine(str(tiny_xlmr))
    for seed, (name, (method, head, left_out)) in enumerate(MODULES.items()):
        make_module(engine, name, method, head, leave_out=left_out, seed=seed)
        record = make_record(engine, name, method, head, run=f"{seed:016x}")
        save_module(engine, record, head, zoo / "tiny" / name)
    options, labels = MethodOptions(rank=2, alpha=2), LABELS["classification"]
    method = get_method("lora")
    add_module(engine, "small", method, options, head="classification", labels=labels)
    record = make_record(engine, "small", "lora", "classification", run="e" * 16)
    save_module(engine, record, "classification", zoo / "tiny" / "small")
    return zoo


@pytest.fixture
def filled(made: Path, zoo: Path) -> Path:
    """A copy of it, as the zoo."""
    return Path(shutil.copytree(made, zoo)) / "tiny"


@pytest.fixture
def engine(tiny_xlmr: Path) -> Engine:
    """A new engine."""
    found: Engine = make_engine(str(tiny_xlmr))
    return found


def _logits(engine: Engine, text: str) -> Tensor:
    batch = token_batch(engine, "span")
    load_composition(engine, text)
    found: Tensor = logits_of(forward(engine, batch), batch)
    return found


def test_a_merge_below_a_module(filled: Path, engine: Engine, tiny_xlmr: Path) -> None:
    text = "stack(linear(0.7*mnli, 0.3*squad), top)"
    composed = load_composition(engine, "stack( linear(0.3*squad, .7*mnli), top )")
    assert composed.expression == text
    assert composed.record is not None and composed.record.name == "top"
    merged = _logits(engine, text)
    assert len(engine.modules) == 4
    own = dict(engine.model.named_parameters())
    below = next(name for name in engine.modules if name.startswith("merged-"))
    for key, parameter in module_parameters(engine, below).items():
        squad, mnli = (own[key.replace(below, name)] for name in ("squad", "mnli"))
        assert torch.allclose(parameter, 0.3 * squad + 0.7 * mnli, atol=1e-6)
    for other in ("stack(squad, top)", "stack(average(mnli, squad), top)", "top"):
        assert not torch.allclose(_logits(engine, other), merged, atol=1e-4)
    activate(engine, composed)
    assert torch.equal(_logits(make_engine(str(tiny_xlmr)), text), merged)


def test_what_decides_a_merge_is_in_its_identity(filled: Path) -> None:
    texts = (
        "average(squad-lora, mnli-lora)",
        "ties(squad-lora, mnli-lora)",
        "ties(squad-lora, mnli-lora, density=0.3)",
        "ties(squad-lora, mnli-lora, lora=factors)",
        "ties(squad-lora, mnli-lora, rank=4)",
        "ties(0.3*squad-lora, 0.7*mnli-lora)",
        "ties(0.7*squad-lora, 0.3*mnli-lora)",
        "dare-ties(squad-lora, mnli-lora)",
        "dare-ties(squad-lora, mnli-lora, seed=1)",
        "average(squad-lora, small)",
    )
    assert len({resolve(text).identity for text in texts}) == len(texts)
    assert resolve("ties(mnli-lora, squad-lora)").identity == resolve(texts[1]).identity
    record = resolve(texts[0]).record
    assert (record.head, record.name) == ("none", "average(mnli-lora, squad-lora)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("average(squad, short)", "only 'squad' has roberta.encoder.layer.0"),
        ("average(squad, twice)", "'squad' and 'twice' cannot be merged: only 'twice' has"),
        ("average(squad, mnli-lora)", "of two kinds: merge bottleneck modules with each other"),
        ("average(dora, mnli-lora)", "'dora' (dora) cannot be merged"),
        ("average(squad, probe)", "'probe' (head) cannot be merged"),
        ("average(squad, squad)", "'squad' is in it twice"),
        ("average(squad, sqad)", "did you mean 'squad'"),
        ("average(small, mnli-lora, lora=factors)", "with lora=products, ranks may differ"),
        ("average(squad, mnli, lora=factors)", "'mnli' is no LoRA"),
        ("uniform(top, average(squad, mnli))", "not average(mnli, squad): write it with"),
        ("average(top, uniform(squad, mnli))", "not uniform(mnli, squad)"),
    ],
)
def test_what_cannot_be_merged(filled: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve(text)
    assert words in str(raised.value)


def test_a_merge_is_no_source_of_a_fusion(filled: Path) -> None:
    with pytest.raises(UserError, match=r"'average\(mnli, squad\)' cannot be fused: write it"):
        resolve_sources(["top", "average(squad, mnli)"])
    merge(["squad", "mnli"], name="mix")
    assert str(resolve_sources(["top", "mix"]).expression) == "fuse(mix, top)"


def test_other_settings_of_the_same_shape(filled: Path) -> None:
    path = filled / "mnli" / "adapter_config.json"
    config = json.loads(path.read_text())
    config["config"]["non_linearity"] = "gelu"
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="'non_linearity' is gelu in one and relu in the other"):
        resolve("average(mnli, squad)")


def test_another_backbone(filled: Path, embedded: str) -> None:
    engine = make_engine(embedded)
    make_module(engine, "ccg", "bottleneck", "tagging")
    record = make_record(engine, "ccg", "bottleneck", "tagging")
    save_module(engine, record, "tagging", filled / "ccg")
    with pytest.raises(UserError, match="'ccg' was made for backbone 'embedded'"):
        resolve("average(ccg, squad)")


@pytest.mark.parametrize(
    ("sources", "options", "text"),
    [
        (("squad", "mnli"), {}, "average(mnli, squad)"),
        (
            ("squad", "mnli"),
            {"how": "linear", "weights": (0.3, 0.7)},
            "linear(0.7*mnli, 0.3*squad)",
        ),
        (
            ("squad-lora", "mnli-lora"),
            {"how": "ties", "density": 0.3},
            "ties(mnli-lora, squad-lora, density=0.3)",
        ),
        (
            ("squad-lora", "small"),
            {"how": "dare_ties", "seed": 4},
            "dare-ties(small, squad-lora, seed=4)",
        ),
        (
            ("squad-lora", "mnli-lora"),
            {"how": "slerp", "lora": "factors"},
            "slerp(mnli-lora, squad-lora, lora=factors)",
        ),
    ],
)
def test_a_written_merge_is_the_unwritten_one(
    filled: Path, tiny_xlmr: Path, sources: Any, options: Any, text: str
) -> None:
    made = merge(sources, **options, name="mix")
    assert made.path == filled.parent / tiny_xlmr.name / "mix"
    assert made.record.merged["expression"] == text
    assert (made.record.head, made.record.composition) == ("none", "mix")
    written = _logits(make_engine(str(tiny_xlmr)), "stack(mix, top)")
    assert torch.allclose(written, _logits(make_engine(str(tiny_xlmr)), f"stack({text}, top)"))


def test_a_merge_with_the_head_of_a_source(filled: Path, tiny_xlmr: Path) -> None:
    made = merge(["squad", "mnli"], head="mnli")
    assert made.path.name == "average-mnli-squad"
    record = made.record
    assert (record.task, record.head, record.method) == ("mnli", "classification", "bottleneck")
    assert record.merged["weights"] == {"mnli": 0.5, "squad": 0.5}
    assert record.merged["sources"]["squad"] == {
        "run": f"{0:016x}",
        "path": str(filled / "squad"),
        "task": "squad",
    }
    assert record.merged["head"]["name"] == "mnli"
    assert set(load("average-mnli-squad").classify("a", "b")) == set(LABELS["classification"])
    other = merge(["squad", "mnli"], name="again")
    assert other.record.run != record.run
    # As a user of plain `adapters` has it.
    plain = AutoAdapterModel.from_pretrained(str(tiny_xlmr)).eval()
    plain.load_adapter(str(made.path), set_active=True, use_safetensors=True)
    engine = make_engine(str(tiny_xlmr))
    batch = token_batch(engine, "classification")
    with torch.no_grad():
        logits = plain(**batch).logits
    load_composition(engine, "average-mnli-squad")
    assert torch.allclose(logits, forward(engine, batch).logits, atol=1e-4)
    card = (made.path / "README.md").read_text("utf-8")
    assert "| squad | 0.5 | squad 0000000000000000 |" in card
    assert "with the classification head of `mnli`" in card
    # of both modules' data, whichever head it has
    licences = [get_task(name).licence for name in ("mnli", "squad")]
    assert f"Data licence: {licences[0]} (mnli); {licences[1]} (squad)." in card
    assert metadata_load(made.path / "README.md")["license"] == "other"  # type: ignore[index]


def test_a_merged_lora_opens_with_peft(filled: Path, tiny_xlmr: Path) -> None:
    made = merge(["squad-lora", "small"], how="task-arithmetic", weights=[0.5, -1])
    base = AutoModel.from_pretrained(str(tiny_xlmr))
    plain = PeftModel.from_pretrained(base, str(made.path / "peft")).eval()
    engine = make_engine(str(tiny_xlmr))
    batch = token_batch(engine, "embedding")
    with torch.no_grad():
        hidden = logits_of(plain(**batch), batch)
    load_composition(engine, str(made.path))
    assert torch.allclose(hidden, logits_of(forward(engine, batch), batch), atol=1e-4)
    assert "rank" not in made.record.merged
    assert "AutoModel.from_pretrained" in (made.path / "README.md").read_text("utf-8")


def test_without_a_head(filled: Path) -> None:
    merge(["squad", "mnli"])
    module = load("average-mnli-squad")
    assert module.embed(["Ada lives in Rome."]).shape == (1, 32)
    for use in (lambda: module.answer("Who?", "Ada."), lambda: module.classify("a")):
        with pytest.raises(UserError, match="'average-mnli-squad' has no head: train a target"):
            use()
    with pytest.raises(UserError, match="has no head"):
        load("average(squad, mnli)").predict([{"id": "", "text_a": "a", "text_b": "", "label": 0}])


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        (["squad"], {}, "average needs at least 2 modules, not 1"),
        (["squad-lora", "mnli-lora"], {"how": "ties", "rank": 999}, "rank 999 is above"),
        (["squad", "mnli"], {"weights": [1, 2]}, "average has no weights"),
        (["squad", "mnli"], {"how": "linear", "weights": [1]}, "1 weights for 2 modules"),
        (["squad", "mnli"], {"how": "ties", "density": 0.0}, "density lies above 0"),
        (["squad", "mnli"], {"how": "tie"}, "no way of merging 'tie': did you mean 'ties'"),
        (["squad", "mnli"], {"head": "top"}, "no head of a source 'top'"),
        (["squad", "mnli"], {"name": "a.b"}, "name 'a.b': only letters"),
        (["squad", "mnli"], {"name": "squad"}, "name 'squad' is that of a source"),
        (["squad", "mnli"], {"name": "half"}, "name 'half': torch"),
        (["squad", "stack(mnli, top)"], {}, "'stack(mnli, top)': single modules"),
        (["squad", "mnli"], {"search": True}, "a search needs a target"),
        (["squad", "mnli"], {"target": "tydiqa"}, "add --search"),
        (["squad", "mnli"], {"target": "tatoeba", "search": True}, "no training data"),
        (["squad", "mnli"], {"target": "xnli", "search": True, "how": "average"}, "no weights to"),
        (["squad", "mnli"], {"target": "xnli", "search": True, "budget": 3}, "budget 3: a search"),
    ],
)
def test_wrong_arguments(filled: Path, sources: Any, options: Any, words: str) -> None:
    with pytest.raises(UserError) as raised:
        merge(sources, **options)
    assert words in str(raised.value)


def test_what_lies_there_is_kept(filled: Path) -> None:
    made = merge(["squad", "mnli"])
    with pytest.raises(UserError, match="choose --out or add --overwrite"):
        merge(["squad", "mnli"])
    again = merge(["mnli", str(filled / "squad")], overwrite=True)
    assert again.record.run == made.record.run
    merge(["squad", "average-mnli-squad"])
    inner = merge(["top", "average(squad, mnli)"])
    assert inner.record.merged["expression"] == "average(average(mnli, squad), top)"
