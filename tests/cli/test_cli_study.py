"""The group `adstilts study`: a study from its file to its report, stopped and gone on with."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts.cli.study import duration
from adapter_stilts.study import run as running
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan
from adapter_stilts.study.run import Outcome
from cli_kit import Result, assert_one_line
from engine_study_kit import plan_of, wait_for, write_study
from study_kit import write_study as write_made_study

Run = Callable[..., Result]


@pytest.fixture
def file(tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of three runs, in the folder that commands are called in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return write_study(tmp_path, tiny_xlmr, steps=400).relative_to(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "studies-out" / "engines")


def _begin(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "adapter_stilts", "study", "run", str(file)]
    command += ["--max-parallel", "2", "--device", "cpu"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _status(run: Run, file: Path) -> dict[str, Any]:
    code, out, err = run("study", "status", str(file), "--json")
    assert code == 0, err
    return dict(json.loads(out))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_watched_stopped_and_gone_on_with(
    run: Run, file: Path, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_one_line(run("study", "stop", str(file)), 2, "engines")
    begun = _begin(file)
    found = wait_for(lambda: _two_train(_status(run, file)))
    assert found["held_by"]["pid"] == begun.pid
    assert (found["runs"], found["done"], found["failed"]) == (3, 0, [])
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("study", "status", str(file))
    assert (code, max(map(len, out.splitlines())) <= 80) == (0, True), out
    assert all(word in out for word in ("/400", str(begun.pid), "0 of 3"))
    assert_one_line(run("study", "run", str(file)), 2, str(begun.pid))
    assert run("study", "stop", str(file))[0] == 0
    printed, _ = begun.communicate(timeout=200)
    assert begun.returncode == 130, printed
    assert "the same command goes on" in printed
    found = _status(run, file)
    assert (found["held_by"], found["running"], found["done"]) == ({}, [], 0)
    assert len(list(folder.path.glob("modules/*/*/checkpoint-*"))) == 2
    _do_the_first_command(run, file)
    assert _status(run, file)["done"] == 1
    code, out, err = run("study", "run", str(file), "--max-parallel", "2", "--device", "cpu")
    assert code == 0, out + err
    assert len(_begun(folder)) == 4, "two that were stopped, one of them gone on with, the last"
    assert _status(run, file)["done"] == 3
    code, out, _ = run("study", "status", str(file))
    assert "3 of 3" in out and "nobody" in out
    code, out, _ = run("study", "export", str(file))
    assert "study.work" not in out


def test_what_a_study_says_fits_a_terminal(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(made: Plan, folder: StudyFolder, engine: Any, say: Callable[[str], None]) -> Outcome:
        say(f"set aside: {next(iter(made.runs))} target {'singles ' * 20}(log: {folder.path})")
        return Outcome(done=set(made.runs))

    monkeypatch.setattr(running, "run_study", tell)
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("study", "run", str(file))
    assert (code, "set aside" in out, "3 of 3 runs done" in out) == (0, True, True)
    assert max(map(len, out.splitlines())) <= 80


def _two_train(found: dict[str, Any]) -> dict[str, Any]:
    steps = [each.get("step", 0) for each in found["running"]]
    return found if len(steps) == 2 and all(steps) else {}


def _do_the_first_command(run: Run, file: Path) -> None:
    """As a shell does what `export` prints."""
    code, out, _ = run("study", "export", str(file))
    first = next(number for number, line in enumerate(out.splitlines()) if "study.work" in line)
    script = "\n".join(out.splitlines()[: first + 1])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd="/")
    assert (code, done.returncode) == (0, 0), done.stderr


def _begun(folder: StudyFolder) -> list[str]:
    logs = [path.read_text() for path in (folder.path / "logs").glob("*.txt")]
    return re.findall("^begun on", "\n".join(logs), re.MULTILINE)


def test_exported_jobs_of_slurm_wait_for_those_they_need(
    run: Run, file: Path, folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, script, _ = run("study", "export", str(file), "--format", "slurm")
    assert code == 0
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "sbatch"
    fake.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        f"path = pathlib.Path({str(tmp_path / 'jobs')!r})\n"
        "path.touch()\nlines = path.read_text().splitlines()\n"
        "path.write_text('\\n'.join([*lines, json.dumps(sys.argv[1:])]))\nprint(len(lines) + 1)\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    subprocess.run(["bash", "-s", "--", "--partition=gpu"], input=script, text=True, check=True)
    jobs = [json.loads(line) for line in (tmp_path / "jobs").read_text().splitlines()]
    runs = list(plan_of(file).runs.values())
    assert len(jobs) == len(runs) == 3
    _, commands, _ = run("study", "export", str(file))
    wanted = [line for line in commands.splitlines() if "study.work" in line]
    assert [_option(job, "--wrap") for job in jobs] == wanted
    assert all("--partition=gpu" in job and "--requeue" in job for job in jobs)
    assert _option(jobs[2], "--dependency") == "afterok:1:2"
    assert not any("--dependency" in option for job in jobs[:2] for option in job)


def _option(job: list[str], name: str) -> str:
    return next(each for each in job if each.startswith(f"{name}=")).partition("=")[2]


def test_exported_rules_of_snakemake_do_the_same_commands(run: Run, file: Path) -> None:
    code, rules, _ = run("study", "export", str(file), "--format", "snakemake")
    _, commands, _ = run("study", "export", str(file))
    shells = [json.loads(each) for each in re.findall(r"^    shell: (.*)$", rules, re.MULTILINE)]
    assert code == 0
    assert shells == [line for line in commands.splitlines() if "study.work" in line]
    outputs = re.findall(r"output: touch\((.*)\)", rules)
    last = re.findall(r"^    input: \[(.*)\]$", rules, re.MULTILINE)[-1]
    assert len(outputs) == 3
    assert last.split(", ") == outputs[:2]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("snakemake") is None, reason="snakemake is not installed")
def test_snakemake_does_the_rules(
    run: Run, tiny_xlmr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    file = write_study(tmp_path, tiny_xlmr, steps=4).relative_to(tmp_path)
    _, rules, _ = run("study", "export", str(file), "--format", "snakemake")
    Path("Snakefile").write_text(rules, encoding="utf-8")
    subprocess.run(["snakemake", "--cores", "2"], check=True, capture_output=True)
    found = _status(run, file)
    assert (found["runs"], found["done"], found["failed"]) == (3, 3, [])


def test_what_is_exported_is_written_into_the_folder(
    run: Run, file: Path, folder: StudyFolder
) -> None:
    _, out, _ = run("study", "export", str(file))
    for line in out.splitlines():
        if "study.work" in line:
            where, name = shlex.split(line)[-2:]
            assert where == str(folder.path)
            assert folder.read_run(name)[0] == "engines"
    assert_one_line(run("study", "export", str(file), "--format", "comands"), 2, "'commands'")


MISTAKES = (
    (("--engine", "rya"), "'ray'"),
    (("--device", "cdua"), "'cuda'"),
    (("--address", "auto"), "--address"),
    (("--gpus", "0.5"), "--gpus"),
    (("--engine", "ray", "--hours", "2"), "--hours"),
    (("--engine", "slurm", "--gpus", "0.5"), "0.5"),
    (("--engine", "ray", "--gpus", "1.5"), "1.5"),
    (("--engine", "ray", "--device", "cpu", "--gpus", "1"), "--device cpu"),
    (("--engine", "slurm", "--slurm", "gpu"), "NAME=VALUE"),
    (("--engine", "ray", "--address", "nowhere"), "nowhere"),
    (("--engine", "slurm"), "sbatch"),
)


@pytest.mark.parametrize(("options", "word"), MISTAKES, ids=str)
def test_an_option_that_does_not_fit_is_named(
    options: tuple[str, ...], word: str, run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # no Slurm, wherever this is tested
    assert_one_line(run("study", "run", str(file), *options), 2, word)


def test_new_writes_a_file_that_can_be_planned(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("study", "new", "study.yaml")
    assert (code, "study plan study.yaml" in out) == (0, True), err
    assert_one_line(run("study", "new", "study.yaml"), 2, "study.yaml")
    assert_one_line(run("study", "new", "study.txt"), 2, ".yaml")
    assert_one_line(run("study", "new", "nowhere/study.yaml"), 2, "nowhere/study.yaml")


def test_plan_shows_every_run_and_fits_a_terminal(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run("study", "plan", str(file))
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80, out
    assert all(name[:8] in out for name in plan_of(file).runs)


def test_a_report_without_records_says_where_they_were_looked_for(run: Run, tmp_path: Path) -> None:
    file = write_made_study(tmp_path, items=20, seeds=1)
    (tmp_path / "made" / "results.jsonl").unlink()
    assert_one_line(run("study", "report", str(file)), 2, "results.jsonl")


def test_a_report_of_an_unfinished_study_says_what_is_missing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("itables", "pandas"):
        pytest.importorskip(library, reason="the extra 'report' is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    file = write_made_study(tmp_path, items=20, seeds=1)
    records = tmp_path / "made" / "results.jsonl"
    lines = records.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if '"run": "fusion-full-panx' not in line]
    records.write_text("".join(kept), encoding="utf-8")
    code, out, err = run("study", "report", file.name, "--to", "report", "--draws", "100")
    assert code == 0, err
    assert "panx" in out
    assert max(map(len, out.splitlines())) <= 80, out
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "not run yet" in page


def test_durations_have_two_units_at_most() -> None:
    assert [duration(each) for each in (0.2, 61, 3700, 200_000)] == [
        "0 s",
        "1 min",
        "1 h 1 min",
        "2 d 7 h",
    ]
