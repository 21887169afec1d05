"""The modules in adapters_zoo: whole, small, for the embedded backbone, and of use."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from adapter_stilts import load
from adapter_stilts.engine.engine import Engine
from adapter_stilts.tasks.registry import intermediate_tasks
from adapter_stilts.zoo.card import zoo_readme
from adapter_stilts.zoo.choice import without_seed
from adapter_stilts.zoo.local import load_resolved
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.resolve import resolve, resolve_folder
from adapter_stilts.zoo.verify import verify
from made_modules import make_engine

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "adapters_zoo"
NINE = tuple(intermediate_tasks())
TARGETS = ("xnli", "udpos", "panx", "tydiqa", "xcopa")
RENAMED = {"mnli-short": "mnli"}
"""Modules whose folders are called otherwise than they were when they were trained."""
FOLDERS = sorted(path.parent for path in ZOO.glob("*/*/module.json"))


@pytest.fixture(autouse=True)
def shipped(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules are found in the shipped zoo alone."""
    monkeypatch.setenv("ADSTILTS_ZOO_PATH", str(ZOO))


@pytest.fixture(scope="module")
def engine(embedded: str) -> Engine:
    found: Engine = make_engine(embedded)
    return found


def each_folder(test: Any) -> Any:
    return pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)(test)


def test_the_whole_zoo_is_there() -> None:
    names = {folder.name for folder in FOLDERS}
    assert names >= {*NINE, *(f"{task}-lora" for task in NINE), "multitask", *TARGETS}
    for folder in FOLDERS:
        record = ModuleRecord.read(folder)
        assert folder.parent.name == record.backbone["name"] == "embedded"
        name, seed = without_seed(folder.name)
        assert RENAMED.get(name, name) == record.name
        assert seed == record.recipe["seed"]


@pytest.mark.parametrize("target", TARGETS)
def test_targets_were_tried_in_other_languages(target: str) -> None:
    (scores,) = ModuleRecord.read(ZOO / "embedded" / target).evaluations.values()
    assert len(scores) >= 8


def test_it_is_small() -> None:
    total = sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file())
    assert total <= 60e6


def test_the_readme_is_generated() -> None:
    assert (ZOO / "README.md").read_text("utf-8") == zoo_readme(ZOO)


@each_folder
def test_it_is_what_it_says(folder: Path, engine: Engine) -> None:
    checks = {check.what: check.fine for check in verify(folder, load=False)}
    assert checks == {"record": True, "hashes": True, "shapes": True}
    composed = load_resolved(engine, resolve_folder(folder))  # compares fingerprints
    assert composed.record is not None
    for path in composed.record.files:
        assert (folder / path).is_file()
    for reference in resolve_folder(folder).modules.values():
        assert reference.folder.parent == folder.parent  # a fusion's modules would be shipped, too


@each_folder
def test_its_card(folder: Path) -> None:
    found = metadata_load(folder / "README.md")
    assert found is not None and found["library_name"] == "adapters"
    record = ModuleRecord.read(folder)
    _, results = model_index_to_eval_results(found["model-index"])
    scored = [result.metric_value for result in results]
    if record.heads:
        assert len(scored) == len(record.heads)
    else:
        assert scored[0] == round(next(iter(record.scores.values())), 2)
    card = ModelCard.load(folder / "README.md")
    assert "## Make it again" in card.text and "## Licence" in card.text


@each_folder
def test_scores_stayed_in_half_precision(folder: Path) -> None:
    record = ModuleRecord.read(folder)
    for key, before in record.full_precision.items():
        if not key.endswith("_threshold"):
            assert abs(record.scores[key] - before) <= 0.1 + 1e-9, key


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
    elif isinstance(value, str):
        yield value


def test_nothing_of_the_machine_it_was_trained_on_is_in_it() -> None:
    for path in ZOO.rglob("*.json"):
        for text in texts_in(json.loads(path.read_text("utf-8"))):
            assert not text.startswith(("/", "~", "C:")), (path, text)
    for path in ZOO.rglob("*.md"):
        content = path.read_text("utf-8")
        for place in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "C:\\"):
            assert place not in content, path


def test_a_composition_of_it_resolves() -> None:
    found = resolve("uniform(squad, mnli)")
    assert {reference.folder for reference in found.modules.values()} == {
        ZOO / "embedded" / "squad",
        ZOO / "embedded" / "mnli",
    }


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "demo.py"))


def test_it_answers_in_many_languages(embedded: str, demo: dict[str, Any]) -> None:
    module = load("squad", precision="fp32")
    texts = demo["TEXTS"]
    found = {name: module.answer(asked, text)["answer"] for name, (text, asked, _) in texts.items()}
    assert found == {name: answer for name, (_, _, answer) in texts.items()}


def test_it_knows_the_same_question(embedded: str, demo: dict[str, Any]) -> None:
    module = load("qqp", precision="fp32")
    for _, first, second, label in demo["PAIRS"]:
        assert next(iter(module.classify(first, second))) == label


def run_demo(demo: dict[str, Any], capsys: pytest.CaptureFixture[str], zoo: Path) -> ModuleRecord:
    """Runs the demo and checks what it prints; the record of the module that it trained."""
    demo["main"]()
    out, err = capsys.readouterr()
    assert "warning" not in err.lower()  # of what it chooses itself
    for language, (_, _, answer) in demo["TEXTS"].items():
        assert language in out and answer in out
    assert "adstilts train-adapter squad" in out
    return ModuleRecord.read(zoo / "embedded" / "ccg-demo")


def test_the_demo_answers_and_trains_for_a_step(
    embedded: str,
    demo: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    zoo: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it is, but for the training, which is cut off by a limit."""
    given = demo["main"].__globals__
    train = given["train_adapter"]
    monkeypatch.setitem(
        given,
        "train_adapter",
        lambda *task, **options: train(*task, **options, limit=16, dev_limit=4),
    )
    assert run_demo(demo, capsys, zoo).data["train"]["examples"] == 16


@pytest.mark.slow
def test_the_demo_answers_and_trains(
    embedded: str, demo: dict[str, Any], capsys: pytest.CaptureFixture[str], zoo: Path
) -> None:
    record = run_demo(demo, capsys, zoo)
    assert record.data["train"]["examples"] > 100
    assert record.scores["tag_accuracy"] > 50
