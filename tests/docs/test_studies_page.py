"""The commands of the page on studies do what the page says, on a study of three runs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from adapter_stilts.study import engine_local
from adapter_stilts.study.engine import EngineOptions
from adapter_stilts.study.engine_local import LocalEngine
from adapter_stilts.study.folder import StudyFolder
from cli_kit import Result, assert_one_line, call_cli
from docs_kit import commands
from engine_kit import Here
from engine_study_kit import write_study

PAGE = Path(__file__).parents[2] / "docs" / "studies.md"
STUDY = [words for words in commands(PAGE) if words[0] == "study"]
REFUSED = {"--device cuda": "no GPU", "--address": "10.0.0.1", "--engine slurm": "sbatch"}
"""What a machine without these says."""


def test_the_page_has_every_command_of_the_group() -> None:
    named = {words[1] for words in STUDY}
    assert named == {"new", "plan", "run", "status", "stop", "report", "export"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "engine", ["in this process", pytest.param("as it is", marks=pytest.mark.slow)]
)
def test_commands_do_what_the_page_says(
    engine: str,
    tiny_xlmr: Path,
    tmp_path: Path,
    zoo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    begun: list[int] = []
    if engine == "in this process":

        class HereOnly(Here):
            """A run takes no process of its own here: tests/study/test_run.py starts one."""

            def __init__(self, folder: StudyFolder, options: EngineOptions) -> None:
                LocalEngine(folder, options).close()  # refuses what it must
                super().__init__(folder)
                begun.append(options.max_parallel or 1)

        monkeypatch.setattr(engine_local, "LocalEngine", HereOnly)

    def call(*words: str) -> Result:
        return call_cli(monkeypatch, capsys, *words)

    for given in STUDY:
        refused = next((word for key, word in REFUSED.items() if key in shlex.join(given)), None)
        if given[1] == "report":
            continue  # two seeds and two arms at least: tests/study/test_study_to_report.py
        found = call(*given)
        if refused:
            assert_one_line(found, found[0], refused)
            assert found[0] in (1, 2)
        elif given[1] == "stop":
            assert_one_line(found, 2, "engines")  # which is done by now
        else:
            assert found[0] == 0, (given, found)
        if given[1] == "new":
            assert (tmp_path / "study.yaml").is_file()
            write_study(tmp_path, tiny_xlmr).rename(tmp_path / "study.yaml")
    assert begun == ([2, 1] if engine == "in this process" else [])
    assert "3 of 3" in call("study", "status", "study.yaml")[1]
