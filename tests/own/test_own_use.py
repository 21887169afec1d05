"""A module of a user's own task: trained by its file, used where there is none."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts import load, train_adapter
from adapter_stilts.errors import UserError
from adapter_stilts.serving.pool import stock
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.zoo.record import ModuleRecord
from cli_kit import Result, assert_one_line
from own_kit import ROWS, task_file

Run = Callable[..., Result]
FEW = ("--steps", "2", "--evaluations", "1")


def trained(run: Run, own: Path, backbone: Path) -> None:
    given = ["--task", str(own / "reviews.yaml"), "--backbone", str(backbone), *FEW]
    code, out, err = run("train-adapter", *given)
    assert code == 0, err
    assert "reviews: dev accuracy" in out


def test_module_is_used_where_its_task_file_is_not(
    run: Run, own: Path, tiny_xlmr: Path, zoo: Path, tmp_path: Path
) -> None:
    trained(run, own, tiny_xlmr)
    spec = ModuleRecord.read(zoo / tiny_xlmr.name / "reviews").spec
    assert (spec["labels"], spec["metric"], spec["licence"]) == (["bad", "good"], "accuracy", "CC0")
    shutil.move(own, tmp_path / "hidden")  # as on another machine
    code, out, err = run("predict", "--with", "reviews", "--text-a", "Lovely bread.", "--json")
    assert code == 0, err
    assert set(json.loads(out)["labels"]) == {"good", "bad"}
    code, out, err = run("zoo", "verify", "reviews", "--scores")
    assert code == 0, err
    code, out, err = run("zoo", "list")
    assert code == 0 and "reviews" in out, err
    code, out, err = run("zoo", "show", "reviews")
    assert code == 0 and "bad" in out, err
    code, out, err = run("zoo", "export", "reviews", "--out", str(tmp_path / "out"))
    assert code == 0, err
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "Reviews of restaurants" in card and "license_name: cc0" in card
    assert "adstilts train-adapter reviews.yaml" in card and str(own) not in card
    given = ["train-target", "xnli", "--on", "reviews", "--data", "sample", "--limit", "8"]
    code, out, err = run(*given, "--dev-limit", "8", *FEW)
    assert code == 0, err
    pool = stock(["reviews"], backbone=None, zoo=True, most=5, precision="fp32")
    assert pool.about["reviews"].languages == ["en", "de"]
    assert pool.about["reviews"].licence == "CC0"


def test_task_file_is_a_target_too(run: Run, own: Path, tiny_xlmr: Path, tmp_path: Path) -> None:
    trained(run, own, tiny_xlmr)
    task = str(own / "reviews.yaml")
    given = ["evaluate", "--task", task, "--with", "reviews", "--out", str(tmp_path / "p")]
    code, out, err = run(*given, "--json")
    assert code == 0, err
    (found,) = json.loads(out)
    assert set(found["languages"]) == {"en", "de"}
    code, out, err = run(
        "train-target", "--task", task, "--backbone", str(tiny_xlmr), "--overwrite", *FEW
    )
    assert code == 0 and "reviews" in out, err
    code, out, err = run("tasks", task)
    assert code == 0 and "CC0" in out, err


def test_rows_to_be_tested_on_are_read_before_the_training(
    run: Run, own: Path, tiny_xlmr: Path, zoo: Path
) -> None:
    (own / "other.csv").write_text("review\nNice.\n", "utf-8")
    given = ["--task", str(own / "reviews.yaml"), "--backbone", str(tiny_xlmr), *FEW]
    result = run("train-adapter", *given, "--test-file", str(own / "other.csv"))
    assert_one_line(result, 2, "other.csv, line 2", "'verdict'")
    assert "planned" not in result[2] and not list(zoo.rglob("module.json"))


def test_module_of_other_labels_is_told_its_command(
    run: Run, own: Path, tiny_xlmr: Path, zoo: Path
) -> None:
    trained(run, own, tiny_xlmr)
    other = task_file(own, "a.csv", ROWS)
    result = run("evaluate", "--task", str(other), "--with", "reviews")
    assert_one_line(result, 2, "bad, good", "no, yes", "train-target --task mine.yaml")


def test_spec_from_python_needs_no_name(own: Path, tiny_xlmr: Path, zoo: Path) -> None:
    spec = get_task(str(own / "reviews.yaml"))
    made = train_adapter(
        spec, backbone=str(tiny_xlmr), steps=2, evaluations=1, out=zoo / "mine", quiet=True
    )
    assert set(load(made.path).classify("Lovely bread.")) == {"good", "bad"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"labels": "bad"}, "spec.labels"),
        ({"metric": "os.system"}, "spec"),
        ({"max_length": 10**12}, "spec"),
        ({"title": "two\nlines"}, "printable"),
        ({"labels": ["good", "ugly"]}, "label2id"),
    ],
)
def test_altered_record_is_refused(
    run: Run, own: Path, tiny_xlmr: Path, zoo: Path, change: dict[str, Any], named: str
) -> None:
    trained(run, own, tiny_xlmr)
    path = zoo / tiny_xlmr.name / "reviews" / "module.json"
    record = json.loads(path.read_text("utf-8"))
    record["spec"] |= change
    path.write_text(json.dumps(record), "utf-8")
    code, _, err = run("predict", "--with", "reviews", "--text-a", "Lovely bread.")
    assert code == 2, err
    assert named.split(".")[0] in err


def test_composition_reads_no_task_file(own: Path, zoo: Path) -> None:
    (own / "reviews.yaml").write_text("name: [", "utf-8")
    with pytest.raises(UserError, match="composition"):
        load(str(own / "reviews.yaml"))


def test_commands_of_the_example_run(
    run: Run, own: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    block = re.search(r"```\n(.*?)```", (own / "README.md").read_text("utf-8"), re.DOTALL)
    assert block
    for line in block[1].replace("embedded", shlex.quote(str(tiny_xlmr))).splitlines():
        command = shlex.split(line)[1:]
        code, _, err = run(*command, *(FEW if command[0].startswith("train") else ()))
        assert code == 0, err


def test_rows_to_evaluate_on_need_no_test_split(
    run: Run, own: Path, tiny_xlmr: Path, tmp_path: Path
) -> None:
    task = own / "reviews.yaml"
    written = task.read_text("utf-8").replace("  test: test-{lang}.csv\n", "")
    task.write_text(written.replace("languages: [en, de]\n", ""), "utf-8")
    trained(run, own, tiny_xlmr)
    given = ["evaluate", "--task", str(task), "--with", "reviews", "--out", str(tmp_path / "p")]
    code, _, err = run(*given)
    assert code == 2 and "reviews has no test data" in err and "--split dev" in err
    assert "--test-file" in err
    code, out, err = run(*given, "--test-file", str(own / "test-de.csv"))
    assert code == 0, err
    assert "accuracy" in out


def test_fusion_is_learnt_on_a_task_file(
    run: Run, own: Path, tiny_xlmr: Path, zoo: Path, tmp_path: Path
) -> None:
    """Of two modules of other tasks: it is evaluated, used and shown without its task file."""
    task, backbone = str(own / "reviews.yaml"), ["--backbone", str(tiny_xlmr)]
    limits = ["--data", "sample", "--limit", "16", "--dev-limit", "8"]
    for name in ("mnli", "qqp"):
        code, _, err = run("train-adapter", name, *backbone, *limits, *FEW)
        assert code == 0, err
    code, out, err = run("fuse", "mnli", "qqp", "--task", task, "--kind", "full", *FEW, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert (record["task"], record["spec"]["labels"]) == ("reviews", ["bad", "good"])
    fusion = Path(record["path"]).name
    given = ["evaluate", "--task", task, "--with", fusion, "--out", str(tmp_path / "p"), "--json"]
    code, out, err = run(*given)
    assert code == 0, err
    assert set(json.loads(out)[0]["languages"]) == {"en", "de"}
    given = ["train-target", "--task", task, "--on", fusion, *FEW, "--json"]
    code, out, err = run(*given)
    assert code == 0, err
    shutil.move(own, tmp_path / "hidden")
    code, out, err = run("predict", "--with", fusion, "--text-a", "Lovely bread.", "--json")
    assert code == 0, err
    assert set(json.loads(out)["labels"]) == {"good", "bad"}
    code, out, err = run("zoo", "show", fusion)
    assert code == 0 and "reviews" in out, err


def test_fusion_says_what_is_wrong_with_its_task_file(run: Run, own: Path, tiny_xlmr: Path) -> None:
    task = own / "reviews.yaml"
    trained(run, own, tiny_xlmr)
    given = ["fuse", "reviews", "reviews", "--task", str(task)]
    code, _, err = run(*given)
    assert code == 2 and "reviews" in err and "Traceback" not in err
    task.write_text(task.read_text("utf-8").replace("  train: train.csv\n", ""), "utf-8")
    for given in (["fuse", "mnli", "qqp"], ["train-target"]):
        code, _, err = run(*given, "--task", str(task), "--backbone", str(tiny_xlmr))
        assert code == 2 and "Traceback" not in err, err
