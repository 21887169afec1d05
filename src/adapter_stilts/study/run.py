"""Doing a study: what is ready is submitted, what fails is tried again, then set aside."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from adapter_stilts.entry import stop_asked
from adapter_stilts.errors import FailureError, UserError, counted
from adapter_stilts.paths import free_bytes
from adapter_stilts.study.engine import Engine
from adapter_stilts.study.folder import StudyFolder, drop_results, last_line, size_of
from adapter_stilts.study.graph import Plan, Run, RunResult
from adapter_stilts.study.items import PARTS, check_selecting, read_item_files
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.record import ModuleRecord

RETRIES = 2
"""So often a failed run is tried again; one that failed by the user's mistake is not."""
MISTAKE = 2
POLL = 0.5
ROOM = 50_000_000
"""Bytes that a training is taken to need before one of the study has been measured: a module and
its checkpoint with the optimizer's state."""

Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What came out of `study run`: runs by how they ended."""

    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)
    stopped: bool = False


def run_study(plan: Plan, folder: StudyFolder, engine: Engine, tell: Tell = print) -> Outcome:
    """Does all runs of a plan that are not done, and goes on with those that are half done.

    Raises:
        UserError: another `study run` works on the folder, or data is not here.
        FailureError: there is no room for what is to be made.
        KeyboardInterrupt: Ctrl-C a second time, so that runs did not end after a checkpoint.
    """
    check_present(plan)
    for warning in _poor_choices(plan):
        tell(warning)
    with folder.holding():
        folder.stop_file.unlink(missing_ok=True)
        done = begin(plan, folder, tell)
        _check_room(plan, folder)
        for name in plan.runs:
            folder.failure(name).unlink(missing_ok=True)
        with stop_asked() as asked:
            try:
                return _Doing(plan, folder, engine, tell, asked, Outcome(done)).do()
            finally:
                engine.stop()
                engine.close()
                folder.stop_file.unlink(missing_ok=True)


def check_present(plan: Plan) -> None:
    """Refuses to do a study whose data, backbone or modules are not all here."""
    for name, problem in plan.absent.items():
        raise UserError(f"the {name} that study {plan.study.name} needs: {problem}")


def begin(plan: Plan, folder: StudyFolder, tell: Tell) -> set[str]:
    """Writes down what there is to do; the runs that are done and whole.

    Records that are damaged are told and forgotten. To be called by who holds the folder.
    """
    results = folder.results(plan)
    for line, problem in results.damaged.items():
        tell(f"{folder.results_file}, line {line}: damaged, its run is done again ({problem})")
    damaged = find_damaged(plan, folder)
    for name, problem in damaged.items():
        tell(f"damaged, done again: {describe(plan.runs[name])}: {problem}")
    forget(folder, damaged)
    folder.write_plan(plan)
    for run in plan.runs.values():
        folder.write_run(run, plan.study.name)
    return set(results.runs) - set(damaged)


def _poor_choices(plan: Plan) -> Iterator[str]:
    """What English dev cannot choose well, target by target."""
    from adapter_stilts.study.dev import check_dev  # it loads torch

    trained = [run for run in plan.runs.values() if run.stage == "rate"]
    each = {(run.target, run.does["rows"], run.does["choose_on"]): run for run in trained}
    warnings = (
        check_dev(get_target(run.target), {**run.place, **run.does}, run.seed_target or 0)
        for run in each.values()
    )
    yield from filter(None, dict.fromkeys(warnings))


@dataclass
class _Doing:
    plan: Plan
    folder: StudyFolder
    engine: Engine
    tell: Tell
    asked: Callable[[], bool]
    outcome: Outcome
    tries: Counter[str] = field(default_factory=Counter)
    pending: dict[Future[int], str] = field(default_factory=dict)

    def do(self) -> Outcome:
        """Submits runs, and waits until none is left or, once a stop is asked for, in work."""
        while True:
            if not self.outcome.stopped and (self.asked() or self.folder.stop_file.exists()):
                self._stop()
            if not self.outcome.stopped:
                self._submit()
            if not self.pending:
                break
            ended, _ = wait(self.pending, timeout=POLL, return_when=FIRST_COMPLETED)
            for each in ended:
                self._note_end(self.pending.pop(each), each)
        if not self.outcome.stopped:
            self.outcome.blocked = set(self.plan.runs) - self.outcome.done - self.outcome.failed
        return self.outcome

    def _stop(self) -> None:
        self.outcome.stopped = True
        if self.pending:
            count = len(self.pending)
            those = f"{counted(count, 'run')} {'ends' if count == 1 else 'end'}"
            self.tell(f"stopping: {those} after a checkpoint")
        self.engine.stop()

    def _submit(self) -> None:
        busy = set(self.pending.values())
        for name, run in self.plan.runs.items():
            if len(self.pending) >= self.engine.capacity:
                return
            ready = self.outcome.done.issuperset(run.needs)
            if ready and name not in self.outcome.done | self.outcome.failed | busy:
                self.pending[self.engine.submit(name)] = name

    def _note_end(self, name: str, future: Future[int]) -> None:
        error = future.exception()
        if isinstance(error, UserError):
            raise error
        code = 1 if error else future.result()
        run = self.plan.runs[name]
        if code == 0 and name in self.folder.results().runs:
            self.outcome.done.add(name)
            done, of = len(self.outcome.done), len(self.plan.runs)
            self.tell(f"{done} of {of}: {describe(run)}")
        elif not self.outcome.stopped:
            self.tries[name] += 1
            if code != MISTAKE and self.tries[name] <= RETRIES:
                self.tell(f"failed, tried again: {describe(run)}")
                return
            self._set_aside(name, run)

    def _set_aside(self, name: str, run: Run) -> None:
        self.outcome.failed.add(name)
        log, aside = self.folder.log(name), self.folder.failure(name)
        aside.parent.mkdir(parents=True, exist_ok=True)
        if log.is_file():
            shutil.copy(log, aside)
        else:
            aside.write_text("the run left no log\n", encoding="utf-8")
        self.tell(f"set aside: {describe(run)}: {last_line(aside)} (log: {aside})")


def describe(run: Run) -> str:
    """A run in a few words."""
    words = [run.id[:8], run.stage, run.arm, run.method]
    if run.among:
        words.append(f"number {run.does['rank'] + 1} by English dev")
    elif run.arm.split()[0] in ("singles", "as-is"):
        words.append(f"on {'+'.join(run.intermediate)}")
    if run.target:
        words.append(f"for {run.target}")
    if run.does.get("lr") is not None:
        words.append(f"lr {run.does['lr']:g}")
    seeds = [each for each in (run.seed_intermediate, run.seed_target) if each is not None]
    return " ".join([*words, *([f"seed {'/'.join(map(str, seeds))}"] if seeds else [])])


def room_needed(plan: Plan, folder: StudyFolder) -> int:
    """Bytes that the modules to be trained take, and a checkpoint of the largest.

    By the modules of finished runs of the same arm; before these, by those of the zoo that the
    study stands on, but for full fusions, which are larger.
    """
    done = folder.results(plan).runs
    sizes: dict[str, int] = {}
    for each in done.values():
        for arm in (each.arm, ""):
            sizes[arm] = max(sizes.get(arm, 0), each.disk_bytes)
    zoo = max(map(size_of, plan.from_zoo), default=0)
    usual = sizes.get("") or zoo or ROOM
    left = [run for run in plan.runs.values() if run.stage != "composition" and run.id not in done]
    each_size = [
        sizes.get(run.arm) or (ROOM if run.arm.startswith("fusion-full") else usual) for run in left
    ]
    return sum(each_size) + 3 * max(each_size, default=0)


def _check_room(plan: Plan, folder: StudyFolder) -> None:
    free, needed = free_bytes(folder.path), room_needed(plan, folder)
    if needed > free:
        raise FailureError(
            f"{folder.path} has {free / 1e9:.1f} GB free, and the study needs about "
            f"{needed / 1e9:.1f} GB: free some space, or choose another --out"
        )


def find_damaged(plan: Plan, folder: StudyFolder) -> dict[str, str]:
    """By run, what is wrong with its files.

    Of modules, and of what of English dev chooses between arms, only those count on which runs
    stand that are not done, or are done again. Where the module of a tried learning rate is gone,
    the run that needs it trains it itself.
    """
    results = folder.results(plan)
    needed: set[str] = set()
    found = dict(results.wrong)
    for name, run in reversed(plan.runs.items()):  # what others need is before them
        result = results.runs.get(name)
        if result is not None:
            problem = _needed_problem(folder, run, result) if name in needed else ""
            if problem := problem or _items_problem(folder, result):
                found[name] = problem
        if result is None or name in found:
            needed.update(run.needs)
    return {name: found[name] for name in plan.runs if name in found}


def _needed_problem(folder: StudyFolder, run: Run, result: RunResult) -> str:
    place = folder.module(run.id)
    try:
        if run.stage == "intermediate" or (run.stage == "rate" and place.exists()):
            ModuleRecord.read(place).verify(place)
        return check_selecting(folder.dev(run.id), result)
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename}: cannot be read ({error.strerror})"


def _items_problem(folder: StudyFolder, result: RunResult) -> str:
    for target in result.scores:
        for part in PARTS:
            for each in read_item_files(folder.path, result, target, part).values():
                if each.problem:
                    return f"{each.path}: {each.problem}"
    return ""


def forget(folder: StudyFolder, names: dict[str, str]) -> None:
    """Takes records out, with all files of these runs, so that they are done again."""
    for name in names:
        for place in (folder.module(name).parent, folder.path / "items" / name, folder.dev(name)):
            shutil.rmtree(place, ignore_errors=True)
    drop_results(folder.results_file, set(names))


FORMATS = ("commands", "snakemake", "slurm")


def export_plan(plan: Plan, folder: StudyFolder, form: str, tell: Tell = print) -> str:
    """The runs that are not done, as one of `FORMATS`; those that others need come first.

    What each run is, is written in the study's folder. A study that lacks something that it needs
    is refused, and one that a `study run` works on.
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
