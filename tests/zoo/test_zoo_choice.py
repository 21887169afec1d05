"""A name means one module: which backbone's, which seed's, and what it is called."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts import load
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.candidates import find_candidates, folders
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.target import all_sources
from adapter_stilts.zoo.choice import folder_name, place_of, with_seed, without_seed
from adapter_stilts.zoo.find import each_seed, find_language, list_modules, locate
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from made_modules import make_engine, save_made

EMBEDDED = {"name": "embedded", "revision": "", "model_type": "bert", "fingerprint": "e" * 16}


def put(saved: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a module with another record."""
    shutil.copytree(saved, folder)
    dataclasses.replace(ModuleRecord.read(folder), **changes).write(folder)
    return folder


@pytest.fixture
def two(tiny_xlmr: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own modules for one backbone, and shared ones of the same names for another."""
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", str(tmp_path / "shared"))
    engine = make_engine(str(tiny_xlmr))
    squad = zoo / "tiny" / "squad"
    save_made(engine, "squad", "bottleneck", "span", squad, run="a" * 16)
    bases = {"squad": {"run": "a" * 16, "path": str(squad)}}
    above = {"composition": "stack(squad, tydiqa)", "task": "tydiqa"}
    qa = zoo / "tiny" / "tydiqa-on-squad"
    save_made(engine, "tydiqa", "bottleneck", "span", qa, run="b" * 16, bases=bases, **above)
    shared = tmp_path / "shared" / "embedded"
    put(squad, shared / "squad", run="c" * 16, backbone=EMBEDDED)
    other = {"squad": {"run": "c" * 16, "path": str(shared / "squad")}}
    put(qa, shared / "tydiqa-on-squad", run="d" * 16, backbone=EMBEDDED, bases=other)
    return zoo / "tiny"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("squad", "tiny/squad, embedded/squad"),
        ("tydiqa-on-squad", "tiny/tydiqa-on-squad, embedded/tydiqa-on-squad"),
        ("stack(squad, tydiqa)", "tiny/tydiqa-on-squad, embedded/tydiqa-on-squad"),
        ("average(squad, tydiqa-on-squad)", "tiny/squad, embedded/squad"),
    ],
)
def test_a_name_of_two_backbones_is_refused_with_both(two: Path, text: str, full: str) -> None:
    with pytest.raises(UserError, match=full):
        resolve(text)
    with pytest.raises(UserError, match=full):
        load(text)


def test_the_backbone_chooses(two: Path, tiny_xlmr: Path) -> None:
    own, other = str(tiny_xlmr), "embedded"
    for backbone, run, above in ((own, "a", "b"), ("tiny", "a", "b"), (other, "c", "d")):
        assert resolve("squad", backbone).record.run == run * 16
        for text in ("tydiqa-on-squad", "stack(squad, tydiqa)"):
            found = resolve(text, backbone)
            assert [reference.record.run[0] for reference in found.modules.values()] == [run, above]
        assert [each.record.run[0] for each in locate("squad", backbone) if each.record] == [run]
        names = {each.folder.parent.name for each in list_modules(backbone=backbone)}
        assert len(names) == 1
    assert resolve("embedded/squad").record.run == "c" * 16
    assert load("squad", backbone=own, precision="fp32").record.run == "a" * 16


def test_a_backbone_without_such_a_module(two: Path) -> None:
    for text in ("squad", "stack(squad, tydiqa)", "embedded/squad"):
        with pytest.raises(UserError, match=r"for backbone 'xlm-roberta-large': there .*embedded/"):
            resolve(text, "xlm-roberta-large")
    with pytest.raises(UserError, match="for backbone 'xlm-roberta-base'"):
        locate("squad", "xlm-roberta-base")


def test_a_moved_backbone_is_told_by_its_fingerprint(
    two: Path, tiny_xlmr: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_xlmr, moved)
    shutil.rmtree(tmp_path / "shared")
    assert load("squad", backbone=str(moved), precision="fp32").record.run == "a" * 16


def test_modules_of_languages(two: Path, tmp_path: Path) -> None:
    language: dict[str, Any] = {"task": "lang-sw", "head": "none"}
    own = put(two / "squad", two / "lang-sw", run="1" * 16, **language)
    shared = tmp_path / "shared" / "embedded" / "lang-sw"
    put(two / "squad", shared, run="2" * 16, backbone=EMBEDDED, **language)
    with pytest.raises(UserError, match="choose from tiny/lang-sw, embedded/lang-sw"):
        find_language("lang:sw")
    assert find_language("lang:sw", "embedded") == shared
    assert find_language("lang:sw", "tiny") == find_language("tiny/lang:sw") == own


def test_seeds_are_told_apart_by_their_folders(two: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "shared")
    put(two / "tydiqa-on-squad", two / "tydiqa-on-squad-s1", run="f" * 16)
    put(two / "squad", two / "squad-s1", run="9" * 16)
    assert resolve("stack(squad, tydiqa)").record.run == "b" * 16  # that in the usual folder
    other = resolve("tydiqa-on-squad-s1")
    assert other.text == "stack(squad, tydiqa-on-squad-s1)" and other.record.run == "f" * 16
    assert resolve(other.text).identity == other.identity
    assert resolve("average(squad-s1, squad)").text == "average(squad, squad-s1)"
    target = get_target("tydiqa")
    texts = ["tydiqa-on-squad", "tydiqa-on-squad-s1", "squad", "squad-s1"]
    found = find_candidates(target, texts)
    assert len({each.expression for each in found}) == len(texts)
    assert len(set(folders(found, None, "tiny", None))) == len(texts)
    # two modules that are not in a zoo, in folders of one name
    for name in ("one", "two"):
        put(two / "squad", tmp_path / name / "mine", run=name.ljust(16, "0"))
    paths = [str(tmp_path / name / "mine") for name in ("one", "two")]
    found = find_candidates(target, paths)
    assert [each.expression for each in found] == paths
    assert len(set(folders(found, None, "tiny", None))) == 2


def test_a_module_is_called_by_its_folder_everywhere(two: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "shared")
    put(two / "tydiqa-on-squad", two / "tydiqa-on-squad-s1", run="f" * 16)
    put(two / "tydiqa-on-squad", two / "mine", run="9" * 16)
    put(two / "tydiqa-on-squad", two / "not, plain", run="7" * 16)
    target = get_target("tydiqa")
    for text, name in (
        ("tydiqa-on-squad", "tydiqa-on-squad"),
        ("stack(squad, tydiqa)", "tydiqa-on-squad"),
        ("stack(squad, tydiqa-on-squad)", "tydiqa-on-squad"),
        (str(two / "tydiqa-on-squad"), "tydiqa-on-squad"),
        ("tydiqa-on-squad-s1", "tydiqa-on-squad-s1"),
        ("stack(squad, tydiqa-on-squad-s1)", "tydiqa-on-squad-s1"),
        ("mine", "mine"),
        ("squad", "squad"),
        (str(two / "not, plain"), "stack(squad, tydiqa)"),  # nothing can be called so
        ("uniform(squad, tydiqa-on-squad)", "uniform(squad, tydiqa-on-squad)"),
    ):
        resolved = resolve(text)
        assert resolved.name == name, text
        if text.startswith("uniform"):
            assert resolve(resolved.text).identity == resolved.identity
            continue
        (found,) = find_candidates(target, [text])
        assert found.expression == name
        (folder,) = folders([found], None, "tiny", None)
        assert folder.name == ("stack-squad-tydiqa" if "(" in name else name)
    folders_here = {each.folder.name for each in list_modules()}
    assert folders_here >= {"tydiqa-on-squad", "tydiqa-on-squad-s1", "mine"}


def test_what_the_user_composed_is_not_called_as_what_was_trained(two: Path) -> None:
    put(two / "squad", two / "tydiqa", run="8" * 16, name="tydiqa", composition="tydiqa")
    free = resolve("stack(squad, tiny/tydiqa)", "tiny")
    assert free.record.run == "8" * 16 and free.text == "stack(squad, tiny/tydiqa)"


@pytest.mark.parametrize(("method", "ending"), [("bottleneck", ""), ("lora", "-lora")])
def test_all_sources_takes_one_seed_a_task(two: Path, method: str, ending: str) -> None:
    recipe = {**ModuleRecord.read(two / "squad").recipe, "method": method}

    def add(name: str, task: str, seed: int) -> None:
        run = f"{task}{name}".encode().hex()[-16:].rjust(16, "0")
        changes: dict[str, Any] = {"task": task, "method": method, "run": run}
        changes |= {"name": f"{task}{ending}", "composition": f"{task}{ending}"}
        put(two / "squad-s3", two / name, **changes, recipe={**recipe, "seed": seed})

    put(two / "squad", two / "squad-s3", method=method, recipe={**recipe, "seed": 3})
    if method == "lora":
        add("squad-lora", "squad", 0)
    for task in ("squad", "mnli", "ccg"):
        for seed in (2, 1):
            add(f"{task}{ending}-s{seed}", task, seed)
    add("a-copy", "squad", 0)
    add(f"ccg{ending}", "ccg", 4)  # as --seed 4 --out writes it: the user's choice goes first
    for backbone in ("tiny", ModuleRecord.read(two / "squad").backbone["name"]):
        found = [Path(each).name for each in all_sources(method, backbone)]
        assert found == [f"ccg{ending}", f"mnli{ending}-s1", f"squad{ending}"]


def test_names() -> None:
    assert with_seed("squad", 0) == "squad" and with_seed("squad", 12) == "squad-s12"
    assert without_seed("xnli-on-mnli-s12") == ("xnli-on-mnli", 12)
    assert without_seed("squad-s4294967295") == ("squad", 4294967295)
    # the seed of what is below is not taken for the module's own
    assert folder_name("xnli", "mnli-s1") != with_seed(folder_name("xnli", "mnli"), 1)


@pytest.mark.parametrize(
    "name",
    [
        *("squad-v2", "squad-s0", "squad-s01", "squad-s", "-s1", "squad-s1.5", "squad-s-1"),
        *("squad-s4294967296", "squad-s\u0661", "squad-s1\n", "squads1", "squad_s1"),
    ],
)
def test_names_that_no_seed_has_written(name: str) -> None:
    assert without_seed(name) == (name, 0)


def test_all_seeds_are_those_whose_names_say_so(two: Path) -> None:
    for name in ("squad-s2", "squad-s02", "squad-s0", "squad-s2-s1"):
        put(two / "squad", two / name, run=name.encode().hex()[:16].ljust(16, "0"))
    assert each_seed("squad-s*", "tiny") == {0: "squad", 2: "squad-s2"}
    assert each_seed(f"{two}/squad-s*") == {0: f"{two}/squad", 2: f"{two}/squad-s2"}
    # a name that looks as if it had a seed has seeds of its own
    assert each_seed("squad-s2-s*", "tiny") == {0: "squad-s2", 1: "squad-s2-s1"}


def test_which_backbone_is_loaded() -> None:
    pinned = "FacebookAI/xlm-roberta-large@abc"
    assert place_of(None, pinned) == place_of("xlm-roberta-large", pinned) == pinned
    assert place_of("xlm-roberta-large@main", pinned) == "xlm-roberta-large@main"
    assert place_of("someone/copy", pinned) == "someone/copy"
