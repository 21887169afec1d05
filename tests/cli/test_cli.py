"""The commands as a person types them: output, exit codes, one line for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter_stilts import __version__
from adapter_stilts.tasks.registry import target_tasks
from cli_kit import Result, assert_one_line


def test_tasks_lists_the_nine_and_the_targets_with_their_data(run: Callable[..., Result]) -> None:
    code, out, _ = run("tasks", "--data", "sample")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines()[1:] if line.strip()}
    targets = {name for name, line in rows.items() if line.split()[1] == "target"}
    assert targets == set(target_tasks())
    assert set(rows) - targets == {
        "anli-plus",
        "ccg",
        "commonsense-qa",
        "cosmos-qa",
        "hellaswag",
        "mnli",
        "qqp",
        "squad",
        "squad-v2",
    }
    assert "360 train, 48 dev" in rows["squad"]
    assert "CC BY-SA 4.0" in rows["squad"]
    assert " 15 " in rows["xnli"]
    assert "xtreme, xtreme-r" in rows["xnli"]
    assert "of 15 languages" in rows["xnli"]


def test_tasks_json_says_where_data_is_missing(run: Callable[..., Result], tmp_path: Path) -> None:
    code, out, _ = run("tasks", "--data", str(tmp_path), "--json")
    assert code == 0
    rows = json.loads(out)
    # The checks are of the package, wherever data is looked for.
    assert [row["name"] for row in rows if row["found"]] == ["qa-checks"]
    assert len(rows) == 9 + len(target_tasks())
    assert "train-v1.1.json" in next(row["data"] for row in rows if row["name"] == "squad")


@pytest.mark.parametrize(("task", "score"), [("squad", "f1 92.3"), ("xnli", "accuracy 79.2")])
def test_a_task_says_what_others_reached(run: Callable[..., Result], task: str, score: str) -> None:
    code, out, _ = run("tasks", task, "--json")
    (found,) = json.loads(out)
    assert code == 0 and score in found["published"] and "XLM-R Large" in found["published"]


def test_doctor_reports_versions_device_hub_and_disk(run: Callable[..., Result]) -> None:
    code, out, _ = run("doctor", "--json")
    assert code == 0
    found = json.loads(out)
    assert "adapters 1.3" in found["versions"]
    assert found["hub"].startswith("switched off")
    assert "GB" in found["disk free"]
    assert run("doctor")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train-adapter", "sqad"), ("no task 'sqad'", "did you mean 'squad'")),
        (("train-adapter", "squad", "--method", "lroa"), ("no method 'lroa'", "'lora'")),
        (("train-adapter", "squad", "--recipe", "defualt"), ("no recipe", "'default'")),
        (("train-adapter", "squad", "--backbone", "./nowhere"), ("./nowhere", "not there")),
        (("train-adapter", "squad", "--backbone", "someone/nothing"), ("--backbone embedded",)),
        (("train-adapter", "squad", "--epochs", "0"), ("epochs must be above 0",)),
        (("train-adapter", "squad", "--precision", "fp8"), ("no precision 'fp8'", "fp32")),
        (("train-adapter", "squad", "--leave-out", "a-b"), ("leave-out", "'a-b'")),
        (("train-multitask", "--tasks", "squad,sqad"), ("no task 'sqad'", "'squad'")),
        (
            ("train-multitask", "--data", "sample", "--mlm-text", "nowhere"),
            ("'nowhere'", "not there"),
        ),
        (("predict", "--with", "nothing", "--words", "a"), ("no module 'nothing'",)),
        (("predict", "--with", "nothing"), ("nothing to predict",)),
        (
            ("predict", "--with", "nothing", "--file", "-", "--text-a", "x"),
            ("leave out --text-a",),
        ),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    run: Callable[..., Result], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(run(*arguments), 2, *words)


def test_mistakes_that_need_a_backbone(
    run: Callable[..., Result], tiny_xlmr: Path, tmp_path: Path, zoo: Path
) -> None:
    base = ("train-adapter", "squad", "--backbone", str(tiny_xlmr))
    assert_one_line(run(*base), 2, "Hub", "--data PATH", "sample")
    assert_one_line(run(*base, "--data", str(tmp_path / "no")), 2, str(tmp_path / "no"))
    assert_one_line(run(*base, "--data", "sample", "--limit", "0"), 2, "limit must be above 0")
    long = run(*base, "--data", "sample", "--max-length", "999")
    assert_one_line(long, 2, "max-length 999", "128")
    short = run(*base, "--data", "sample", "--max-length", "8")
    assert_one_line(short, 2, "max-length", "at least 16")
    layer = run(*base, "--data", "sample", "--limit", "4", "--leave-out", "7")
    assert_one_line(layer, 2, "layer 7", "0 to 2")
    assert not zoo.exists() or not list(zoo.rglob("module.json"))


def test_a_broken_data_file_is_named_with_its_line(
    run: Callable[..., Result], tiny_xlmr: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mnli"
    folder.mkdir()
    good = '{"premise": "a", "hypothesis": "b", "label": 0}\n'
    (folder / "train.jsonl").write_text(good + '{"premise": "a", "hypothesis": "b", "label": 9}\n')
    (folder / "validation_matched.jsonl").write_text(good)
    result = run("train-adapter", "mnli", "--backbone", str(tiny_xlmr), "--data", str(tmp_path))
    assert_one_line(result, 2, "train.jsonl, line 2", "9")


def test_train_then_predict_for_every_head(
    run: Callable[..., Result], tiny_xlmr: Path, zoo: Path, tmp_path: Path
) -> None:
    common = ("--backbone", str(tiny_xlmr), "--data", "sample", "--limit", "16", "--dev-limit", "8")
    quick = ("--epochs", "1", "--evaluations", "1", "--max-length", "64")
    inputs = {
        "squad_v2": ("--question", "Where?", "--context", "It is in Rome."),
        "mnli": ("--premise", "It rains.", "--hypothesis", "It is wet."),
        "csqa": ("--prompt", "Where?", *(f"--option={word}" for word in "abcde")),
        "ccg": ("--words", "She reads letters ."),
    }
    for task, given in inputs.items():
        out = zoo / "tiny" / task
        code, printed, _ = run(
            "train-adapter", task, *common, *quick, "--method", "lora", "--out", str(out), "--json"
        )
        assert code == 0, printed
        record = json.loads(printed)
        assert record["path"] == str(out)
        assert record["data"]["train"]["examples"] == 16
        code, printed, err = run("predict", "--with", task, *given)
        assert code == 0, err
        assert printed.strip()
        wrong = ("--words", "a b") if task != "ccg" else ("--question", "?", "--context", "b")
        assert_one_line(run("predict", "--with", task, *wrong), 2, "head", "is missing")
    again = run("train-adapter", "ccg", *common, "--out", str(zoo / "tiny" / "ccg"))
    assert_one_line(again, 2, "already", "--overwrite")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"words": ["a", "b"]}\n{"words": ["c"]}\n')
    code, printed, _ = run("predict", "--with", "ccg", "--file", str(rows), "--json")
    assert code == 0
    assert [len(json.loads(line)["tags"]) for line in printed.splitlines()] == [2, 1]


def test_one_module_for_several_tasks(
    run: Callable[..., Result], tiny_xlmr: Path, zoo: Path
) -> None:
    quick = ("--limit", "4", "--dev-limit", "4", "--epochs", "1", "--evaluations", "1")
    base = ("train-multitask", "--tasks", "mnli,ccg", "--backbone", str(tiny_xlmr))
    code, out, err = run(*base, "--data", "sample", *quick)
    assert code == 0, err
    assert "multitask: dev mean" in out and "mnli.accuracy" in out
    assert "one module with 2 heads:" in out and "2 modules of one task each would have" in out
    assert "dev mean" in err and "ccg.tag_accuracy" in err  # while it runs
    pair = ("--premise", "It rains.", "--hypothesis", "It is wet.")
    assert_one_line(run("predict", "--with", "multitask", *pair), 2, "choose --task from ccg, mnli")
    for choice in (("multitask", "--task", "mnli"), ("multitask:mnli",)):
        code, out, err = run("predict", "--with", *choice, *pair)
        assert code == 0, err
        assert "entailment" in out
    other = run("predict", "--with", "multitask", "--task", "squad", *pair)
    assert_one_line(other, 2, "no head in module 'multitask'", "squad")


def test_a_module_of_another_backbone_is_refused(
    run: Callable[..., Result], tiny_xlmr: Path, embedded: str, tmp_path: Path
) -> None:
    out = tmp_path / "ccg"
    base = ("train-adapter", "ccg", "--backbone", str(tiny_xlmr), "--data", "sample")
    code, _, err = run(
        *base, "--limit", "4", "--dev-limit", "4", "--epochs", "1", "--out", str(out)
    )
    assert code == 0, err
    result = run("predict", "--with", str(out), "--words", "a b", "--backbone", embedded)
    assert_one_line(result, 2, "was made for backbone", str(tiny_xlmr), "embedded")


def test_help_names_every_command(run: Callable[..., Result]) -> None:
    code, out, _ = run("--help")
    assert code == 0
    training = ("train-adapter", "train-multitask", "train-target", "fuse")
    for command in ("tasks", "doctor", *training, "evaluate", "predict"):
        assert command in out


def test_debug_shows_where_a_mistake_was_found(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADSTILTS_DEBUG", "")
    code, _, err = run("--debug", "train-adapter", "sqad")
    assert code == 2
    assert "Traceback" in err


def test_the_version_is_told(run: Callable[..., Result]) -> None:
    assert run("--version") == (0, f"adapter-stilts {__version__}\n", "")
