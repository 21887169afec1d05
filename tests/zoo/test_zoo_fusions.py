"""Fusions on disk: found by what they fuse, loaded in another process, refused with a reason."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from load_compositions import compare  # type: ignore[import-not-found]
from safetensors.torch import save_file

from adapter_stilts.backbones import find_backbone
from adapter_stilts.engine.engine import forward
from adapter_stilts.errors import UserError
from adapter_stilts.training.target import all_sources, resolve_sources
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.local import load_composition
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from fusion_kit import copy_zoo, fill_zoo, run_of, save_fused
from made_modules import logits_of, make_engine, save_made, token_batch
from process_kit import in_a_process

NESTED = "fuse(mnli, stack(sw, squad))"
COMPOSITIONS = (NESTED, f"stack({NESTED}, qa)", "over", "uniform(mnli, stack(sw, squad))")


def _keep(backbone: str, method: str, kind: str, zoo: Path) -> None:
    """Fills a zoo and keeps what its compositions compute in this process."""
    folder = zoo / "made"
    engine = fill_zoo(backbone, folder, method)
    save_fused(engine, "f", ["squad-on-sw", "mnli"], kind, "span", folder / "f", run="f" * 16)
    on = resolve(NESTED)
    above = {"composition": f"stack({NESTED}, over)", "bases": on.bases, "run": "e" * 16}
    save_made(engine, "over", method, "span", folder / "over", **above)
    batch = token_batch(engine, "span")
    for number, text in enumerate(COMPOSITIONS):
        load_composition(engine, text)
        logits = logits_of(forward(engine, batch), batch)
        save_file({**batch, "logits": logits}, zoo / f"{number}.safetensors")
    (zoo / "made.json").write_text(json.dumps([backbone, COMPOSITIONS]), encoding="utf-8")


@pytest.mark.parametrize("repo", ["", "someone/f"])
def test_full_fusion_loads_with_plain_adapters(
    backbone: str, zoo: Path, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)  # of the fusion's first weights
    engine = fill_zoo(backbone, zoo / "made", "bottleneck")
    save_fused(engine, "f", ["mnli", "qa"], "full", "span", zoo / "made" / "f", run="f" * 16)
    batch = token_batch(engine, "span")
    load_composition(engine, "fuse(mnli, qa)")
    expected = logits_of(forward(engine, batch), batch)

    if repo:  # on the Hub, whose files lie in this folder once they have been fetched
        write_card(ModuleRecord.read(zoo / "made" / "f"), zoo / "made" / "f", peft=False, repo=repo)
        places = {repo: str(zoo / "made" / "f")}
        monkeypatch.setattr("huggingface_hub.snapshot_download", places.__getitem__)
    card = (zoo / "made" / "f" / "README.md").read_text("utf-8")
    snippet = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[-1]
    for name, folder in (("MNLI", "mnli"), ("QA", "qa"), ("THIS_FOLDER", "f")):
        snippet = snippet.replace(f"PATH_OF_{name}", str(zoo / "made" / folder))
    snippet = snippet.replace("FOLDER_OF_THE_EMBEDDED_BACKBONE", str(find_backbone(backbone).path))
    found: dict[str, Any] = {}
    exec(snippet, found)  # as the card tells its readers to do it
    plain = found["model"].eval()
    with torch.inference_mode():
        logits = logits_of(plain(**batch), batch)
    assert plain.active_head == "f"
    assert torch.allclose(logits, expected, atol=5e-4, rtol=1e-4)
    load_composition(engine, "mnli")
    assert not torch.allclose(logits_of(forward(engine, batch), batch), expected, atol=1e-2)


def test_nested_fusions_compute_the_same_in_another_process(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = (("bottleneck", "full"), ("lora", "lean"))
    for method, kind in cases:
        zoo = tmp_path / "zoos" / f"{method}-{kind}"
        monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))
        _keep(backbone, method, kind, zoo)
    assert in_a_process(compare, tmp_path / "zoos", tmp_path / "found.json") == 0
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert len(found) == len(cases) * len(COMPOSITIONS)
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize(
    ("method", "sources", "kind"),
    [
        ("bottleneck", ["mnli", "qa"], "lean"),
        ("bottleneck", ["mnli", "squad-on-sw"], "full"),
        ("parallel-bottleneck", ["mnli", "qa"], "full"),
        ("lora", ["mnli", "qa"], "full"),
    ],
)
def test_what_plain_adapters_would_compute_otherwise_is_not_written_for_it(
    tiny_xlmr: Path, zoo: Path, method: str, sources: list[str], kind: str
) -> None:
    engine = fill_zoo(str(tiny_xlmr), zoo / "made", method)
    folder = zoo / "made" / "f"
    save_fused(engine, "f", sources, kind, "span", folder, run="f" * 16)
    assert (folder / "fusion.safetensors").is_file()
    assert not list(folder.glob("*adapter_fusion*"))
    card = (folder / "README.md").read_text("utf-8")
    written = "fuse(mnli, qa)" if "qa" in sources else "fuse(mnli, stack(sw, squad))"
    assert f"It is a {kind} fusion, `{written}`: it weighs what its sources add" in card
    assert f'load("{written}")' in card and "PATH_OF_THIS_FOLDER" in card
    assert "it takes adapter-stilts" in card and "load_adapter_fusion" not in card
    record = ModuleRecord.read(folder)
    assert f"{record.parameters:,} parameters" in card
    assert all(f"`{name}` (run {run_of(name)})" in card for name in record.bases)
    for snippet in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        compile(snippet, "card", "exec")


@pytest.fixture
def filled(tiny_xlmr: Path, zoo: Path) -> Path:
    """A zoo with `sw`, `squad` on it, `mnli` and `qa`."""
    copy_zoo(str(tiny_xlmr), zoo / "tiny", "bottleneck")
    return zoo / "tiny"


def test_the_order_of_sources_makes_no_difference(filled: Path) -> None:
    one = resolve_sources(["mnli", "squad-on-sw", "qa"])
    for names in (["qa", "squad-on-sw", "mnli"], ["stack(sw, squad)", str(filled / "qa"), "mnli"]):
        other = resolve_sources(names)
        assert other.expression == one.expression
        assert other.identity == one.identity
    assert str(one.expression) == "fuse(mnli, qa, stack(sw, squad))"
    assert resolve_sources(["mnli", "qa"]).identity != one.identity
    assert resolve("uniform(qa, mnli)").identity == resolve("uniform(mnli, qa)").identity
    assert resolve("uniform(qa, mnli)").identity != resolve_sources(["mnli", "qa"]).identity


def test_a_fusion_is_found_by_what_it_fuses(filled: Path, tiny_xlmr: Path) -> None:
    with pytest.raises(UserError, match=r'no fusion of mnli "stack\(sw, squad\)" has been learnt'):
        resolve(NESTED)
    engine = make_engine(str(tiny_xlmr))
    save_fused(engine, "f", ["mnli", "squad-on-sw"], "lean", "span", filled / "f", run="f" * 16)
    for text in (NESTED, "fuse(stack(sw,squad), mnli)", "f"):
        found = resolve(text)
        assert found.record.run == "f" * 16
        assert set(found.modules) == {"sw", "squad", "mnli", "f"}
    (filled / "f").rename(filled / "elsewhere")
    assert "elsewhere" in resolve(NESTED).modules
    with pytest.raises(UserError, match="no fusion of mnli qa has been learnt"):
        resolve("fuse(qa, mnli)")
    save_fused(engine, "g", ["mnli", "squad-on-sw"], "lean", "span", filled / "g", run="9" * 16)
    with pytest.raises(UserError, match="stands for several: choose from tiny/elsewhere, tiny/g"):
        resolve(NESTED)
    # by name there is no doubt, in a composition either
    above = {name: resolve(f"stack({name}, qa)") for name in ("elsewhere", "g")}
    assert {each.text for each in above.values()} == {f"stack({NESTED}, qa)"}
    assert above["g"].modules["g"].record.run == "9" * 16
    assert above["g"].identity != above["elsewhere"].identity
    composed = load_composition(engine, "stack(g, qa)")
    assert composed.expression == f"stack({NESTED}, qa)"


def test_a_fusion_without_a_head(filled: Path, tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    batch = token_batch(engine, "embedding")
    save_fused(engine, "f", ["mnli", "qa"], "lean", "embedding", filled / "f", run="f" * 16)
    expected = logits_of(forward(engine, batch), batch)
    fresh = make_engine(str(tiny_xlmr))
    load_composition(fresh, "fuse(mnli, qa)")
    assert torch.equal(logits_of(forward(fresh, batch), batch), expected)
    load_composition(fresh, "mnli")
    fresh.model.active_head = None
    assert not torch.allclose(logits_of(forward(fresh, batch), batch), expected, atol=1e-3)


def test_sources_may_stand_on_the_same_module(filled: Path, tiny_xlmr: Path) -> None:
    engine = make_engine(str(tiny_xlmr))
    bases = {"sw": {"run": run_of("sw"), "path": str(filled / "sw")}}
    above = {"composition": "stack(sw, pos)", "bases": bases, "run": run_of("pos")}
    save_made(engine, "pos", "bottleneck", "span", filled / "pos-on-sw", **above)
    found = resolve_sources(["pos-on-sw", "squad-on-sw"])
    assert str(found.expression) == "fuse(stack(sw, pos), stack(sw, squad))"


def test_modules_of_one_name_are_called_by_their_folders(filled: Path, tiny_xlmr: Path) -> None:
    save_made(make_engine(str(tiny_xlmr)), "squad", "bottleneck", "span", filled / "squad")
    for names in (["squad", "squad-on-sw"], ["stack(sw, squad)", "squad"]):
        found = resolve_sources(names)
        assert str(found.expression) == "fuse(squad, stack(sw, squad-on-sw))"
        assert found.modules["squad-on-sw"].folder.name == "squad-on-sw"
    with pytest.raises(UserError, match=r"'squad' stands for .*squad and for .*squad-on-sw"):
        resolve("fuse(squad, stack(sw, squad))")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["mnli"], "a fusion needs at least 2 modules"),
        (["mnli", "mnli"], "'mnli' is named twice: a fusion takes every module once"),
        (["mnli", "tiny/mnli"], "'mnli' is in it twice"),
        (["squad-on-sw", "stack(sw, squad)"], "'squad' is in it twice"),
        (["mnly", "qa"], "no module 'mnly': did you mean 'mnli'?"),
        (["stack(sw, sqad)", "qa"], "no module 'sqad'"),
        (["stack(sw squad)", "qa"], "character 10: a comma or a closing bracket was expected"),
        (["f", "qa"], "'fuse(mnli, stack(sw, squad))' is a fusion inside a fusion"),
        (["lora", "qa"], "'lora' (lora) and 'qa' (bottleneck) are of two kinds"),
        (["other", "qa"], "'other' was made for backbone 'elsewhere' (00ff)"),
    ],
)
def test_what_cannot_be_fused(filled: Path, tiny_xlmr: Path, names: list[str], what: str) -> None:
    engine = make_engine(str(tiny_xlmr))
    save_fused(engine, "f", ["mnli", "squad-on-sw"], "lean", "span", filled / "f", run="f" * 16)
    save_made(engine, "lora", "lora", "span", filled / "lora", run=run_of("lora"))
    away = {"name": "elsewhere", "revision": "", "model_type": "bert", "fingerprint": "00ff"}
    more = {"backbone": away, "run": run_of("other")}
    save_made(engine, "other", "bottleneck", "span", filled / "other", **more)
    with pytest.raises(UserError) as raised:
        resolve_sources(names)
    assert what in str(raised.value) and "\n" not in str(raised.value)
    if "comma" in what:
        text, caret = raised.value.detail.splitlines()
        assert text[caret.index("^")] == "s" and "^" not in text


def with_record(folder: Path, **changes: Any) -> None:
    """Changes what a module says of itself."""
    dataclasses.replace(ModuleRecord.read(folder), **changes).write(folder)


def test_all_of_a_kind(filled: Path, tiny_xlmr: Path) -> None:
    for name, task in (("mnli", "mnli"), ("sw", "squad-v2")):
        with_record(filled / name, task=task)
    engine = make_engine(str(tiny_xlmr))
    with pytest.raises(
        UserError, match=r"at least 2 lora modules .* is tiny: bottleneck: mnli, qa"
    ):
        all_sources("lora")
    save_made(engine, "lora", "lora", "span", filled / "lora", run=run_of("lora"))
    with pytest.raises(UserError, match=re.escape("tiny: lora: lora")):
        all_sources("lora")
    # Neither what stands on something, nor what is no intermediate task's.
    save_made(engine, "pos", "bottleneck", "span", filled / "pos", task="tydiqa", run="7" * 16)
    found = all_sources("bottleneck")
    assert [Path(each).name for each in found] == ["mnli", "qa", "sw"]
    assert str(resolve_sources(found).expression) == "fuse(mnli, qa, sw)"


def test_all_of_several_backbones(filled: Path, zoo: Path) -> None:
    with_record(filled / "mnli", task="mnli")
    for name in ("qa", "mnli"):
        shutil.copytree(filled / name, zoo / "other" / name)
        backbone = {"name": "other", "fingerprint": "f" * 16}
        with_record(zoo / "other" / name, backbone=backbone, run=run_of(f"o-{name}"))
    with pytest.raises(UserError, match=r"several backbones .*: give --backbone"):
        all_sources("bottleneck")
    assert [Path(each).parent.name for each in all_sources("bottleneck", "other")] == ["other"] * 2
