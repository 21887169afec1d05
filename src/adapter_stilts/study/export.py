"""A study's runs for another program to do."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from adapter_stilts.errors import UserError
from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.run import Tell, begin, check_present, describe

FORMATS = ("commands", "snakemake", "slurm")


def export_plan(plan: Plan, folder: StudyFolder, form: str, tell: Tell = print) -> str:
    """The runs that are not done, as one of `FORMATS`; those that others need come first.

    What each run is, is written in the study's folder.

    Raises:
        UserError: something that the study needs is not here, or a `study run` works on it.
    """
    check_present(plan)
    if form == "snakemake" and {"{", "}"} & set(str(folder.path.absolute())):
        raise UserError(f"{folder.path}: Snakemake takes no braces in paths: choose another --out")
    with folder.holding():
        done = begin(plan, folder, tell)
        left = [run for run in plan.runs.values() if run.id not in done]
        for run in left:  # an earlier export's, whose record is gone
            _mark(folder, run.id).unlink(missing_ok=True)
    if form == "snakemake":
        return _snakemake(left, folder, done)
    return _slurm(left, folder) if form == "slurm" else _commands(left, folder)


def _mark(folder: StudyFolder, name: str) -> Path:
    """The file by which Snakemake knows that a run is done."""
    return folder.path.absolute() / "state" / f"{name}.done"


def _command(run: Run, folder: StudyFolder) -> str:
    program = [sys.executable, "-P", "-m", "adapter_stilts.study.work"]
    return shlex.join([*program, str(folder.path.absolute()), run.id])


def _commands(runs: list[Run], folder: StudyFolder) -> str:
    lines = ["#!/bin/sh", "set -e", f"cd {shlex.quote(str(Path.cwd()))}"]
    for run in runs:
        lines += [f"# {describe(run)}", _command(run, folder)]
    return "\n".join(lines) + "\n"


def _slurm(runs: list[Run], folder: StudyFolder) -> str:
    """A script that submits a job for every run, after those it needs."""
    names, here = {run.id for run in runs}, shlex.quote(str(Path.cwd()))
    lines = [
        "#!/bin/bash",
        "# Options of this script go to sbatch: bash study.sh --partition=gpu --gpus=1",
        "set -e",
        f"mkdir -p {shlex.quote(str(folder.path.absolute() / 'logs'))}",
    ]
    for run in runs:
        after = ":".join(f"$job_{need}" for need in dict.fromkeys(run.needs) if need in names)
        log = shlex.quote(str(folder.log(run.id).absolute()))
        lines += [
            f"# {describe(run)}",
            f'job_{run.id}=$(sbatch "$@" --parsable --requeue --open-mode=append \\',
            f"    --job-name={run.id[:8]} --chdir={here} --output={log} \\",
            *([f'    --dependency="afterok:{after}" --kill-on-invalid-dep=yes \\'] * bool(after)),
            f"    --wrap={shlex.quote(_command(run, folder))})",
        ]
    return "\n".join(lines) + "\n"


def _snakemake(runs: list[Run], folder: StudyFolder, done: set[str]) -> str:
    """Rules whose outputs are marks in the study's folder."""

    def mark(name: str) -> str:
        return json.dumps(str(_mark(folder, name)), allow_nan=False)

    every = ", ".join(mark(run.id) for run in runs)
    lines = [
        f"workdir: {json.dumps(str(Path.cwd()), allow_nan=False)}\n",
        f"rule all:\n    input: [{every}]\n",
    ]
    for run in runs:
        needs = ", ".join(mark(each) for each in dict.fromkeys(run.needs) if each not in done)
        command = _command(run, folder).replace("{", "{{").replace("}", "}}")
        lines.append(
            f"rule run_{run.id}:  # {describe(run)}\n"
            f"    input: [{needs}]\n"
            f"    output: touch({mark(run.id)})\n"
            f"    shell: {json.dumps(command, allow_nan=False)}\n"
        )
    return "\n".join(lines)
