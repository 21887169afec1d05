"""A study's runs for another program to do."""

from __future__ import annotations

import json
import shlex
import sys

from adapter_stilts.study.folder import StudyFolder
from adapter_stilts.study.graph import Plan, Run
from adapter_stilts.study.run import describe

FORMATS = ("commands", "snakemake", "slurm")


def export_plan(plan: Plan, folder: StudyFolder, form: str) -> str:
    """The runs that are not done, as one of `FORMATS`; those that others need come first."""
    done = folder.results().runs
    left = [run for run in plan.runs.values() if run.id not in done]
    if form == "snakemake":
        return _snakemake(left, folder, set(done))
    return _slurm(left, folder) if form == "slurm" else _commands(left, folder)


def _command(run: Run, folder: StudyFolder) -> str:
    parts = [sys.executable, "-m", "adapter_stilts.study.work", str(folder.path), run.id]
    return shlex.join(parts)


def _commands(runs: list[Run], folder: StudyFolder) -> str:
    lines = ["#!/bin/sh", "set -e"]
    for run in runs:
        lines += [f"# {describe(run)}", _command(run, folder)]
    return "\n".join(lines) + "\n"


def _slurm(runs: list[Run], folder: StudyFolder) -> str:
    """A script that submits a job for every run, after those it needs."""
    names = {run.id for run in runs}
    lines = ["#!/bin/bash", "set -e"]
    for run in runs:
        after = ":".join(f"$job_{need}" for need in dict.fromkeys(run.needs) if need in names)
        depends = f'--dependency="afterok:{after}" ' if after else ""
        lines += [f"# {describe(run)}"]
        wrapped = shlex.quote(_command(run, folder))
        lines += [
            f"job_{run.id}=$(sbatch --parsable --requeue --job-name={run.id[:8]} "
            f"{depends}--wrap={wrapped})"
        ]
    return "\n".join(lines) + "\n"


def _snakemake(runs: list[Run], folder: StudyFolder, done: set[str]) -> str:
    """Rules whose outputs are marks in the study's folder."""

    def mark(name: str) -> str:
        return json.dumps(str(folder.path / "state" / f"{name}.done"), allow_nan=False)

    every = ", ".join(mark(run.id) for run in runs)
    lines = [f"rule all:\n    input: [{every}]\n"]
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
