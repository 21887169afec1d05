"""`adstilts study`: what reading commands show, who is asked for `--unequal`, and exports."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapter_stilts.cli import study as commands
from adapter_stilts.study import run as running
from adapter_stilts.study.folder import StudyFolder, append_result
from adapter_stilts.study.graph import Plan, Run, RunResult
from adapter_stilts.study.run import Outcome
from adapter_stilts.study.work import OF_RUN
from cli_kit import Result, assert_one_line, call_cli
from engine_study_kit import plan_of, write_study

Call = Callable[..., Result]


@pytest.fixture
def file(tiny_xlmr: Path, tmp_path: Path) -> Path:
    """A study of three runs."""
    return write_study(tmp_path, tiny_xlmr)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "out")


@pytest.fixture
def call(
    file: Path,
    folder: StudyFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    def made(command: str, *options: str) -> Result:
        asked = ("study", command, str(file), "--out", str(folder.path), *options)
        return call_cli(monkeypatch, capsys, *asked)

    return made


def _sleeping(monkeypatch: pytest.MonkeyPatch, then: Callable[[int], None]) -> list[float]:
    """Counts the pauses instead of making them."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        then(len(slept))

    monkeypatch.setattr(commands, "time", SimpleNamespace(sleep=sleep))
    return slept


def test_watching_ends_with_the_run(
    call: Call, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = folder.holding()
    held.__enter__()

    def end(count: int) -> None:
        if count == 3:
            held.__exit__(None, None, None)

    slept = _sleeping(monkeypatch, end)
    code, out, err = call("status", "--watch")
    assert (code, len(slept), err) == (0, 3, "")
    assert out.count("0 of 3 runs done") == 4
    assert out.count("nobody runs it") == 1
    assert call("status", "--watch")[0] == 0 and len(slept) == 3, "nobody runs it"


def test_watching_ends_with_control_c(
    call: Call, folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    _sleeping(monkeypatch, interrupt)
    with folder.holding():
        code, out, err = call("status", "--watch")
    assert (code, err) == (130, "")
    assert "0 of 3 runs done" in out


def test_reading_commands_need_no_unequal(call: Call, file: Path) -> None:
    written = file.read_text(encoding="utf-8")
    file.write_text(written.replace("[alone]", "[{arm: alone, steps: 1}]"), encoding="utf-8")
    code, out, _ = call("plan")
    assert code == 0 and commands.UNEQUAL_MARK in out
    assert "unless --unequal is said" in " ".join(out.split())
    assert "unless --unequal" not in call("plan", "--unequal")[1]
    assert call("status")[0] == 0
    assert_one_line(call("stop"), 2, "nobody")
    for command in ("run", "export"):
        assert_one_line(call(command), 2, "line 6", "'alone'", "--unequal")
    assert call("export", "--unequal")[0] == 0


def test_what_came_out_is_counted(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(done: int, failed: int, count: int) -> str:
        def end(made: Plan, *rest: Any) -> Outcome:
            made.runs = dict(list(made.runs.items())[:count])
            names = list(made.runs)
            after = done + failed
            return Outcome(set(names[:done]), set(names[done:after]), set(names[after:]))

        monkeypatch.setattr(running, "run_study", end)
        return call("run")[1].splitlines()[-1]

    assert said(3, 0, 3) == "3 of 3 runs done"
    assert said(0, 1, 1) == "0 of 1 run done, 1 failed"
    assert said(1, 1, 3) == "1 of 3 runs done, 1 failed, 1 run after that not done"


def _record(run: Run) -> RunResult:
    """What a run that is not tested leaves."""
    fields = {name: getattr(run, name) for name in OF_RUN}
    return RunResult(run=run.id, study="s", lr=run.does["lr"] or 0.0, **fields)


@pytest.mark.parametrize("form", ["commands", "snakemake", "slurm"])
def test_an_export_is_of_what_is_not_done_and_whole(
    form: str, call: Call, file: Path, folder: StudyFolder
) -> None:
    first, second, third = plan_of(file).runs.values()
    for each in (first, second):  # the first record is cut off; of the second, no module is there
        append_result(folder.results_file, _record(each))
    lines = folder.results_file.read_bytes().splitlines(keepends=True)
    folder.results_file.write_bytes(lines[0][:30] + b"\n" + lines[1])
    stale = folder.path / "state" / f"{first.id}.done"
    stale.parent.mkdir()
    stale.touch()
    code, out, err = call("export", "--format", form)
    assert code == 0
    assert "results.jsonl, line 1: damaged" in err
    assert [f"{each.id}\n" in out or f"{each.id}'" in out or f'{each.id}"' in out
            for each in (first, second, third)] == [True, False, True]  # fmt: skip
    assert not stale.exists()


def test_what_is_not_here_is_not_exported(call: Call, file: Path, folder: StudyFolder) -> None:
    written = file.read_text(encoding="utf-8")
    file.write_text(written.replace("data: sample", "data: /not/there"), encoding="utf-8")
    assert_one_line(call("export"), 2, "line 3", "/not/there")
    assert not folder.path.exists()


def test_an_export_waits_for_a_run(call: Call, folder: StudyFolder) -> None:
    with folder.holding():
        assert_one_line(call("export"), 2, "is held by process")


def test_snakemake_takes_no_braces(call: Call, tmp_path: Path) -> None:
    asked = ("export", "--format", "snakemake", "--out", str(tmp_path / "{a}"))
    assert_one_line(call(*asked), 2, "{a}", "braces")
    assert call(*asked[:1], *asked[3:])[0] == 0


def test_the_status_names_damage_and_counts_what_was_done_since(
    call: Call, file: Path, folder: StudyFolder
) -> None:
    first, *_ = plan_of(file).runs.values()
    append_result(folder.results_file, _record(first))
    folder.failure(first.id).parent.mkdir()
    folder.failure(first.id).write_text("it was set aside\n", encoding="utf-8")
    (folder.path / "failed" / "other.txt").mkdir()
    with folder.results_file.open("a", encoding="utf-8") as records:
        records.write('{"run": "half\n')
    code, out, _ = call("status")
    assert code == 0 and "1 of 3 runs done, 0 running, 0 failed, 2 to do" in out
    assert "results.jsonl, line 2: damaged" in out.replace("\n", "")
    folder.results_file.unlink()
    folder.results_file.mkdir()
    for command in ("status", "plan", "export"):
        assert_one_line(call(command), 2, "results.jsonl")
    folder.results_file.rmdir()
    (folder.path / "plan.json").mkdir()
    assert_one_line(call("export"), 1, str(folder.path / "plan.json"), "move it away")
    shutil.rmtree(folder.path / "state")
    (folder.path / "state").write_text("")
    assert_one_line(call("export"), 1, str(folder.path / "state"), "move it away")
    shutil.rmtree(folder.path)
    folder.path.write_text("")
    for command in ("status", "plan", "export", "stop"):
        assert_one_line(call(command), 2, "out is a file")
