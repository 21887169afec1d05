"""`adstilts zoo`, `pull` and `push` as a person types them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapter_stilts.zoo.record import RECORD, ModuleRecord
from cli_kit import Result, assert_one_line
from hub_kit import REPO, connect, files_of
from made_modules import make_engine, save_made
from writable_hub import WRITER, Hub, serving

Run = Callable[..., Result]
HOSTILE = "a\x1b[2J\x1b]0;owned\x07\u202eb[red]c[/red]"


@pytest.fixture(scope="module")
def saved(tiny_xlmr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for MNLI."""
    folder = tmp_path_factory.mktemp("saved") / "mnli-lora"
    save_made(make_engine(str(tiny_xlmr)), "mnli-lora", "lora", "classification", folder)
    return folder


@pytest.fixture
def module(saved: Path, zoo: Path) -> Path:
    """The same in the zoo."""
    return Path(shutil.copytree(saved, zoo / "tiny" / "mnli-lora"))


@pytest.fixture
def hub(tmp_path: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as found:
        connect(monkeypatch, found.url, tmp_path / "hf", WRITER)
        yield found


def test_list(run: Run, module: Path) -> None:
    code, out, _ = run("zoo", "list")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("tiny/mnli-lora")]
    for word in ("mnli", "lora", "accuracy 61.2", " MB", "local"):
        assert word in line
    assert "OANC" not in line and "OANC" in run("zoo", "show", "mnli-lora")[1]
    (entry,) = json.loads(run("zoo", "list", "--json", "--task", "mnli")[1])
    assert entry["path"] == str(module)
    assert "no modules" in run("zoo", "list", "--task", "squad")[1]


def test_the_list_says_where_a_module_only_guesses(run: Run, module: Path) -> None:
    record = ModuleRecord.read(module)
    assert "(chance)" not in run("zoo", "list")[1]
    dev = {**record.data["dev"], "examples": 100, "chance": {"accuracy": 60.0}}
    dataclasses.replace(record, data={**record.data, "dev": dev}).write(module)
    assert "accuracy 61.2 (chance)" in run("zoo", "list")[1]
    (entry,) = json.loads(run("zoo", "list", "--json")[1])
    assert entry["at_chance"] == "mnli"


def test_show(run: Run, module: Path) -> None:
    code, out, _ = run("zoo", "show", "mnli-lora")
    assert code == 0
    assert "accuracy 61.2345" in out and "# mnli-lora" in out
    shown = json.loads(run("zoo", "show", "mnli-lora", "--json")[1])
    assert shown["record"]["files"].keys() == ModuleRecord.read(module).files.keys()
    assert_one_line(run("zoo", "show", "mnli-lorra"), 2, "did you mean 'mnli-lora'")


def test_verify(run: Run, module: Path) -> None:
    code, out, _ = run("zoo", "verify", "--quick")
    assert code == 0
    assert "ok" in out and "WRONG" not in out
    code, out, _ = run("zoo", "verify", "mnli-lora", "--json")
    assert code == 0
    assert {check["what"] for check in json.loads(out)[str(module)]} >= {"hashes", "backbone"}
    (module / "head_config.json").write_text("{}")
    result = run("zoo", "verify", "--quick")
    assert "WRONG" in result[1] and "head_config.json is damaged" in result[1]
    assert_one_line(result, 1, "1 of 1 modules are not what they say")


def test_remove_asks(run: Run, module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert_one_line(run("zoo", "remove", "mnli-lora"), 2, "nothing removed")
    assert module.is_dir()
    assert run("zoo", "remove", "mnli-lora", "--yes")[0] == 0
    assert not module.exists()
    assert_one_line(run("zoo", "remove", "mnli-lora", "--yes"), 2, "no module 'mnli-lora'")


def test_export(run: Run, module: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain"
    code, printed, _ = run("zoo", "export", "mnli-lora", "--out", str(out), "--format", "peft")
    assert code == 0 and str(out) in printed
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }


def test_export_for_another_zoo(run: Run, module: Path, tmp_path: Path) -> None:
    out = tmp_path / "theirs" / "tiny" / "mnli-lora"
    given = ("zoo", "export", "mnli-lora", "--out", str(out), "--format", "module", "--half")
    assert_one_line(run(*given), 2, "give its id on the Hub as --backbone")
    assert run(*given, "--backbone", "someone/tiny")[0] == 0
    assert ModuleRecord.read(out).run == ModuleRecord.read(module).run
    code, printed, _ = run("zoo", "readme", str(tmp_path / "theirs"))
    assert code == 0 and "| [mnli-lora](tiny/mnli-lora/README.md) |" in printed
    assert_one_line(run("zoo", "readme", str(tmp_path / "nowhere")), 2, "no modules in")


def test_there_and_back(run: Run, hub: Hub, module: Path) -> None:
    code, out, _ = run("push", "mnli-lora", "--to", REPO, "--backbone", "tiny/plain", "--json")
    assert code == 0
    pushed = json.loads(out)
    shutil.rmtree(module)
    code, out, _ = run("pull", REPO)
    assert code == 0
    assert "mnli-lora: lora for mnli on tiny/plain" in out
    assert json.loads(run("pull", REPO, "--json")[1])["hub"] == f"{REPO}@{pushed['commit']}"
    assert REPO in run("zoo", "list")[1]
    assert REPO in run("zoo", "search", "mnli")[1]
    assert json.loads(run("zoo", "search", "mnli", "--json")[1])[0]["method"] == "lora"
    assert "nothing found" in run("zoo", "search", "--task", "squad")[1]
    assert run("zoo", "remove", REPO, "--yes")[0] == 0
    assert "no modules" in run("zoo", "list")[1]


def test_predict_with_a_hub_id(run: Run, hub: Hub, saved: Path, tiny_xlmr: Path) -> None:
    hub.add(REPO, files_of(saved))
    texts = ("--premise", "It rains.", "--hypothesis", "It is wet.")
    code, out, err = run("predict", "--with", REPO, *texts)
    assert code == 0, err
    assert "entailment" in out
    assert_one_line(run("predict", "--with", "someone/nothing", *texts), 2, "'someone/nothing'")


def test_train_on_a_hub_id_records_its_commit(
    run: Run, hub: Hub, saved: Path, tiny_xlmr: Path, zoo: Path
) -> None:
    commit = hub.add(REPO, files_of(saved))
    quick = ("--limit", "8", "--dev-limit", "4", "--epochs", "1", "--max-length", "32")
    given = ("--on", REPO, "--method", "lora", "--data", "sample", *quick, "--json")
    code, out, err = run("train-target", "pawsx", *given)
    assert code == 0, err
    (base,) = json.loads(out)["bases"].values()
    assert base["hub"] == f"{REPO}@{commit}"


def test_hostile_texts_are_shown_harmless(run: Run, hub: Hub, saved: Path, module: Path) -> None:
    (module / "README.md").write_text(f"# {HOSTILE}\n", encoding="utf-8")
    ModuleRecord.read(module).write(module)
    shown = run("zoo", "show", "mnli-lora")
    assert "\\x1b[2J" in shown[1] and "[red]c[/red]" in shown[1]
    fields = json.loads((module / RECORD).read_text("utf-8"))
    (module / RECORD).write_text(json.dumps({**fields, "name": HOSTILE}), "utf-8")
    card = f"---\ntags: [adapter-stilts]\nlicense: {json.dumps(HOSTILE)}\n---\n".encode()
    hub.add("someone/hostile", {"README.md": card})
    results = [
        shown,
        run("zoo", "list"),
        run("zoo", "show", "mnli-lora"),
        run("zoo", "search"),
        run("zoo", "verify", "--quick"),
        run("predict", "--with", "mnli-lora", "--text-a", "x"),
        run("pull", f"someone/{HOSTILE}"),
    ]
    for _, out, err in results:
        assert not set(out + err) & set("\x1b\x07\u202e"), (out, err)
    assert "someone/hostile" in results[3][1]


def test_labels_of_strangers_are_shown_harmless(run: Run, module: Path) -> None:
    path = module / "head_config.json"
    about = json.loads(path.read_text("utf-8"))
    about["config"]["label2id"] = {HOSTILE: 0, "b": 1, "c": 2}
    path.write_text(json.dumps(about))
    ModuleRecord.read(module).write(module)
    result = run("predict", "--with", "mnli-lora", "--text-a", "x")
    assert_one_line(result, 2, "label2id", "\\x1b[2J")
    assert "\x1b" not in result[2]


def test_module_for_another_backbone(run: Run, hub: Hub, module: Path) -> None:
    record = ModuleRecord.read(module)
    own = {**record.backbone, "name": "xlm-roberta-base", "revision": "c" * 40}
    dataclasses.replace(record, backbone=own).write(module)
    hub.add(REPO, files_of(module))
    result = run("pull", REPO, "--backbone", "xlm-roberta-large")
    assert_one_line(result, 2, "'xlm-roberta-base'", "c" * 40, "'xlm-roberta-large'")


def test_help(run: Run) -> None:
    out = run("zoo", "--help")[1]
    for command in ("list", "show", "verify", "remove", "export", "readme", "search"):
        assert command in out
    assert all(command in run("--help")[1] for command in ("push", "pull", "zoo"))
