"""Mistakes and help are answered before anything that takes seconds is imported."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

import adapter_stilts
from adapter_stilts.cli import app
from adapter_stilts.training.spec import TRACKERS

SAMPLE = ("--backbone", "embedded", "--data", "sample")
LONG = "x" * 300
MISTAKES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("train-adapter", "sqad", *SAMPLE), "did you mean 'squad'"),
    (("train-adapter", "squad", *SAMPLE, "--method", "lra"), "no method 'lra'"),
    (("train-adapter", "squad", *SAMPLE, "--recipe", "dmo"), "no recipe 'dmo'"),
    (("train-adapter", "squad", *SAMPLE, "--recipe", "my.yaml"), "my.yaml is not there"),
    (("train-adapter", "squad", *SAMPLE, "--epochs", "0"), "epochs must be above 0"),
    (("train-adapter", "squad", *SAMPLE, "--seed", "-1"), "seed must lie between"),
    (("train-adapter", "squad", *SAMPLE, "--limit", "0"), "limit must be above 0"),
    (("train-adapter", "squad", *SAMPLE, "--leave-out", "a"), "'a' is not a layer"),
    (("train-adapter", "squad", *SAMPLE, "--precision", "int4"), "no precision 'int4'"),
    (("train-adapter", "squad", *SAMPLE, "--report-to", "wandbb"), "no tracker 'wandbb'"),
    (("train-adapter", "squad", *SAMPLE, "--out", LONG), "too long"),
    (("train-adapter", "squad", *SAMPLE, "--out", "/proc/squad"), "/proc"),
    (("train-adapter", "squad", *SAMPLE, "--max-length", "9999"), "max-length 9999 is over"),
    (("train-adapter", "squad", *SAMPLE, "--max-length", "3"), "max-length must be at least"),
    (("train-adapter", "squad", "--backbone", "embeded", "--data", "sample"), "'embedded'"),
    (("train-adapter", "squad", "--backbone", "./nowhere", "--data", "sample"), "./nowhere"),
    (("train-adapter", "squad", "--backbone", "embedded", "--data", "nowhere"), "'nowhere'"),
    (("train-adapter", "squad", "--backbone", "embedded", "--data", LONG), "xxx"),
    (("train-adapter", "tydiqa", *SAMPLE), "train-target tydiqa"),
    (("train-multitask", "--tasks", "squad,mnl", *SAMPLE), "'mnl'"),
    (("train-multitask", *SAMPLE, "--mlm-text", "nowhere"), "'nowhere' is not there"),
    (("train-target", "tydqa", *SAMPLE), "'tydiqa'"),
    (("train-target", "squad", *SAMPLE), "train-adapter squad"),
    (("train-target", "tydiqa", *SAMPLE, "--on", "sqad"), "no module 'sqad'"),
    (("train-target", "tydiqa", *SAMPLE, "--on", "stack(squad"), "character 12"),
    (("train-target", "tydiqa", *SAMPLE, "--source-lang", "zz"), "'zz'"),
    (("train-target", "tydiqa", *SAMPLE, "--train-file", "rows.json"), "'rows.json' is not there"),
    (
        ("train-target", "xnli", "--backbone", "./nowhere", "--train-file", "a.tsv"),
        "'a.tsv' is not",
    ),
    (("train-target", "udpos", "--backbone", "./nowhere", "--data", "nodata"), "'nodata'"),
    (("train-target", "xcopa", "--backbone", "./nowhere", "--lr", "-1"), "lr"),
    (("fuse", "squad", "mnli", "--target", "xnli", "--data", "nodata"), "'nodata'"),
    (("train-language", "xx", "--text", "a.txt", "--backbone", "embedded"), "'xx'"),
    (("train-language", "sw", "--text", "a.txt", "--backbone", "embedded"), "'a.txt' is not there"),
    (("fuse", "sqad", "mnli", "--target", "tydiqa"), "no module 'sqad'"),
    (("fuse", "--all", "--target", "tydiqa", "--kind", "ful"), "no kind of fusion 'ful'"),
    (("merge", "sqad", "mnli"), "no module 'sqad'"),
    (("merge", "squad", "mnli", "--how", "tis"), "'ties'"),
    (("merge", "squad", "mnli", "--weights", "a,b"), "numbers with commas"),
    (("evaluate", "tydqa", "--with", "squad"), "'tydiqa'"),
    (("evaluate", "squad", "--with", "squad"), "train-adapter squad"),
    (("evaluate", "tydiqa", "--with", "sqad"), "no module 'sqad'"),
    (("evaluate", "tydiqa", "--with", LONG), "no module 'xxx"),
    (("evaluate", "tydiqa", "--with", f"stack(squad, {LONG})"), "no module 'xxx"),
    (("evaluate", "tydiqa", "--with", "stak(squad, x)"), "did you mean 'stack'?"),
    (("evaluate", "tydiqa", "--with", "squad", "--langs", "zz"), "'zz'"),
    (("evaluate", "udpos", "--with", "ccg"), "tags that are not udpos's"),
    (("evaluate", "panx", "--with", "multitask:ccg"), "tags that are not panx's"),
    (("evaluate", "xnli", "--with", "qqp"), "has the labels duplicate"),
    (("evaluate", "xcopa", "--with", "hellaswag"), "among 4 options"),
    (("evaluate", "tydiqa", "--with", "squad", "--split", "tst"), "'tst'"),
    (("evaluate", "tydiqa", "--with", "squad", "--precision", "fp8"), "no precision 'fp8'"),
    (("evaluate", "tydiqa", "--with", "squad", "--limit", "0"), "limit 0"),
    (("evaluate", "tatoeba", "--with", "none", "--pooling", "men"), "no pooling 'men'"),
    (("evaluate", "tatoeba", "--with", "none", "--layer-from", "bucc2019"), "'bucc2018'"),
    (("evaluate", "--suite", "xtrem", "--with-map", "MAP"), "no suite 'xtrem'"),
    (("evaluate", "--suite", "xtreme", "--with-map", "no.yaml"), "no.yaml is not there"),
    (("explain", "sqad"), "no module 'sqad'"),
    (("explain", "squad", "--task", "tydqa"), "'tydiqa'"),
    (("predict", "--with", "sqad", "--question", "a", "--context", "b"), "no module 'sqad'"),
    (("predict", "--with", "squad", "--file", "no.jsonl"), "no.jsonl: cannot be read"),
    (("predict", "--with", "squad", "--text", "a", "--lang", "zz"), "'zz'"),
    (("serve", "--with", "sqad"), "no module 'sqad'"),
    (("serve", "--with", "sqad", "--precision", "fp8"), "no precision 'fp8'"),
    (("serve", "--with", "squad", "--max-items", "0"), "'--max-items'"),
    (("serve", "--with", "squad", "--max-connections", "1"), "'--max-connections'"),
    (("serve", "--with", "squad", "--gather", "1001"), "'--gather'"),
    (("study", "run", "no.yaml", "--cpus", "0"), "'--cpus'"),
    (("study", "run", "no.yaml", "--engine", "slrm"), "'slurm'"),
    (("study", "run", "no.yaml", "--gpus", "1"), "--gpus"),
    (("study", "run", "no.yaml", "--engine", "slurm", "--slurm", "a"), "NAME=VALUE"),
    (("recommend", "tydiqa", "--draws", "1"), "1 draws"),
    (("task", "check", "no.yaml"), "'no.yaml' is not there"),
    (("zoo", "show", "sqad"), "no module 'sqad'"),
    (("zoo", "verify", "sqad"), "no module 'sqad'"),
    (("zoo", "remove", "sqad"), "no module 'sqad'"),
    (("zoo", "export", "sqad", "--out", "plain"), "no module 'sqad'"),
    (("push", "sqad", "--to", "someone/squad"), "no module 'sqad'"),
    (("pull", "squad"), "'squad'"),
    (("train-adapter", "squad", "--methd", "lora"), "No such option: --methd"),
    (("train-adapter", "squad", "--seed", "abc"), "integer"),
    (("tasks", "--data", "nowhere"), "'nowhere' is not there"),
)


def _commands(command: Any, *before: str) -> list[tuple[str, ...]]:
    """Every command and group, as it is typed."""
    found = [before]
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        found += _commands(inner, *before, name)
    return found


HELPS = [(*words, "--help") for words in _commands(typer.main.get_command(app))]
QUIET = [*HELPS, ("--version",), ("tasks",), ("zoo", "list")]


def _environment(tmp_path: Path) -> dict[str, str]:
    places = {name: str(tmp_path / name) for name in ("ADSTILTS_ZOO", "ADSTILTS_PULLED")}
    source = str(Path(adapter_stilts.__file__).parents[1])
    given = {key: value for key, value in os.environ.items() if key != "ADSTILTS_DATA"}
    places["ADSTILTS_ZOO_PATH"] = str(Path(source).parent / "adapters_zoo")
    return {**given, **places, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def test_nothing_heavy_is_imported_for_a_mistake_or_for_help(tmp_path: Path, embedded: str) -> None:
    suite_map = tmp_path / "map.yaml"
    suite_map.write_text("tydiqa: squad\n")
    given = [list(words) for words, _ in MISTAKES] + [list(words) for words in QUIET]
    commands = [[str(suite_map) if word == "MAP" else word for word in words] for words in given]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("quick_commands.py"))],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        env=_environment(tmp_path),
        cwd=tmp_path,
        check=True,
    )
    results = json.loads(done.stdout)
    wrong = []
    for (words, expected), result in zip(MISTAKES, results, strict=False):
        lines = result["err"].strip().splitlines()
        one = sum(line.startswith("adstilts: ") for line in lines) == 1
        if result["code"] != 2 or not one or expected not in result["err"] or result["heavy"]:
            wrong.append((words, expected, result))
    for words, result in zip(QUIET, results[len(MISTAKES) :], strict=True):
        if result["code"] or not result["out"] or result["heavy"]:
            wrong.append((words, "", result))
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("words", "code", "most"),
    [
        (("--help",), 0, 1.5),
        (("train-adapter", "--help"), 0, 1.5),
        (("--version",), 0, 1.5),
        (MISTAKES[0][0], 2, 2.5),
        (("evaluate", "tydqa", "--with", "squad"), 2, 2.5),
    ],
)
def test_an_answer_takes_little_time(
    tmp_path: Path, words: tuple[str, ...], code: int, most: float
) -> None:
    """Of the processor: others may use it, too. The imports alone would take twice as much."""
    command = [sys.executable, "-m", "adapter_stilts", *words]

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, capture_output=True, env=_environment(tmp_path), cwd=tmp_path, check=False
        )
        assert done.returncode == code, done.stderr
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert seconds() < most or seconds() < most  # the first reads all from the disk


def test_the_trackers_are_those_of_transformers() -> None:
    assert set(INTEGRATION_TO_CALLBACK) - {"gradients"} == TRACKERS


def test_the_package_shows_what_it_has() -> None:
    assert set(adapter_stilts.__all__) <= set(dir(adapter_stilts))
    for name in adapter_stilts.__all__:
        assert getattr(adapter_stilts, name).__module__.startswith("adapter_stilts.")
