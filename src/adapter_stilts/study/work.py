"""One run of a study: `python -m adapter_stilts.study.work FOLDER RUN`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from adapter_stilts import __version__
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.plugins import load_plugins
from adapter_stilts.study.dev import dev_halves, keep_selecting
from adapter_stilts.study.engine import DEVICE, INTERRUPTED
from adapter_stilts.study.fingerprints import MULTITASK, Fingerprints
from adapter_stilts.study.folder import StudyFolder, append_result, size_of
from adapter_stilts.study.graph import Run, RunResult
from adapter_stilts.study.plan import FUSIONS, SUMS
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.zoo.record import ModuleRecord

if TYPE_CHECKING:
    from adapter_stilts.training.run import Trained

OF_RUN = ("stage", "arm", "intermediate", "target", "method", "seed_intermediate", "seed_target",
          "unequal")  # fmt: skip
"""What a record says of its run in the words of the plan."""
PATIENCE = 60.0
"""Seconds in which a process that has lost its engine is sure to have ended."""


def work(folder: StudyFolder, name: str) -> RunResult:
    """Does a run, or goes on with it, and adds its record."""
    study, run = folder.read_run(name)
    with folder.working(name, patience=PATIENCE):
        known = folder.results().runs
        if name in known:
            return known[name]
        check_inputs(run)
        from adapter_stilts.training.callbacks import report_steps

        with report_steps(_StepsOf(folder, name)):
            result = _Work(folder, study, run, known, run.id).do()
        append_result(folder.results_file, result)
        return result


def check_inputs(run: Run) -> None:
    """Refuses a run whose backbone, data or modules are not those that it was planned with."""
    prints = Fingerprints(run.place["backbone"], run.place["data"])
    found = prints.of_run(run.stage, run.target, run.does)
    if prints.absent:
        raise UserError(next(iter(prints.absent.values())))
    changed = [name for name, print_ in found.items() if run.inputs.get(name) != print_]
    for place, content in zip(run.on, run.contents, strict=False):
        if "/" in place and ModuleRecord.read(Path(place)).content != content:
            changed.append(f"module {place}")
    if changed:
        raise UserError(
            f"{', '.join(changed)}: changed since the study was planned: `adstilts study run` "
            "plans it anew"
        )


@dataclass
class _StepsOf:
    """Writes down the steps and the speed of a run that trains, for `adstilts study status`."""

    folder: StudyFolder
    name: str
    first: tuple[int, float] | None = None

    def __call__(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if self.first is None or step < self.first[0]:
            self.first = step, now
        begun, since = self.first
        speed = (step - begun) / (now - since) if now > since else 0.0
        with suppress(OSError):  # a full disk is said where a result is written
            self.folder.write_steps(self.name, step, steps, speed)


@dataclass
class _Work:
    """`id` is that of the record, also where another run's plan says what is done."""

    folder: StudyFolder
    study: str
    run: Run
    known: dict[str, RunResult]
    id: str

    @property
    def does(self) -> dict[str, Any]:
        """What is done, and where the data and the backbone lie."""
        return {**self.run.place, **self.run.does}

    @property
    def where(self) -> dict[str, Any]:
        """Options of all that loads the backbone and reads data."""
        return {key: self.does[key] for key in ("data", "backbone", "precision")}

    def do(self) -> RunResult:
        """Does the run by the method of its stage; its seconds are those of all of it."""
        began = time.monotonic()
        if self.run.among:
            self.run = self._best_single()
        found = getattr(self, f"_{self.run.stage}")()
        found.setdefault("seconds", time.monotonic() - began)
        return self._result(**found)

    def _best_single(self) -> Run:
        """The single that English dev ranks there, with this run's seeds."""
        runs = [self.folder.read_run(name)[1] for name in self.run.among]
        scores: dict[tuple[str, ...], list[float]] = {}
        for each in runs:
            if each.seed_intermediate == runs[0].seed_intermediate:
                result = self.known[each.id]
                score = _known_score(result.dev_select, result)
                scores.setdefault(each.intermediate, []).append(score)
        # Of equal scores the first, as the study lists them.
        best = sorted(scores, key=lambda tasks: -fmean(scores[tasks]))[self.run.does["rank"]]
        of_it = [each for each in runs if each.intermediate == best]
        own = next(e for e in of_it if e.seed_intermediate == self.run.seed_intermediate)
        return replace(own, seed_target=self.run.seed_target, unequal=self.run.unequal)

    def _intermediate(self) -> dict[str, Any]:
        run, does = self.run, self.does
        if run.arm == "merged":
            from adapter_stilts.training.merge import merge

            out = self.folder.module(self.id)
            if not _is_whole(out):
                merge(
                    self._places(),
                    search=True,
                    target=run.target,
                    examples=does["search"],
                    budget=does["budget"],
                    **self.where,
                    seed=run.seed_intermediate or 0,
                    name="merged",
                    out=out,
                    quiet=True,
                )
            return self._of_module(out)
        from adapter_stilts.training.run import train_adapter, train_multitask

        options = self._training(run.seed_intermediate or 0, does["lr"])
        if run.arm == MULTITASK:
            made = self._anew(train_multitask, does["tasks"], **options)
        else:
            made = self._anew(train_adapter, does["tasks"][0], **options)
        return self._of_module(made.path)

    def _anew(self, train: Callable[..., Trained], *what: Any, **options: Any) -> Trained:
        """Trains; what is damaged, or an earlier version has left half-done, is begun anew.

        The run is still the same by its content, so that nothing else can be done with that.
        """
        from adapter_stilts.training.folders import OtherRunError

        try:
            return train(*what, **options)
        except OtherRunError as error:
            sys.stderr.write(f"begun anew: {error}\n")
            shutil.rmtree(options["out"].parent)
            return train(*what, **options)

    def _rate(self) -> dict[str, Any]:
        return self._train(self.run.does["lr"])

    def _target(self) -> dict[str, Any]:
        """Trains at the rate that was chosen, unless that training is the very one; evaluates."""
        rates = [self.known[each] for each in self.run.rates]
        # Of equal scores the first, which is the lowest rate as the study lists them.
        best = max(rates, key=lambda each: _known_score(each.dev_choose, each))
        seeds = (self.run.seed_intermediate, self.run.seed_target)
        place = self.folder.module(best.run)
        if seeds == (best.seed_intermediate, best.seed_target) and place.is_dir():
            found = self._of_module(place)
            found |= {"dev_choose": best.dev_choose, "dev_select": best.dev_select}
            found["dev_whole"] = best.dev_whole
        else:
            found = self._train(best.lr)
            place = self.folder.module(self.id)
        found |= {"lr": best.lr, **self._scores(self._tested_composition(place))}
        keep_selecting(
            self.folder.dev(place.parent.name),
            self.folder.path / str(found["items"]) / get_target(self.run.target).name,
        )
        if self.run.does["kind"] in FUSIONS:
            self._keep_attention(place, self.folder.path / str(found["items"]))
        return found

    def _keep_attention(self, place: Path, items: Path) -> None:
        """What the fusion listens to, where its sources are called as in the study."""
        from adapter_stilts.study.items import keep_attention

        does = self.does
        keep_attention(
            place,
            get_target(self.run.target).name,
            self.run.intermediate,
            items,
            langs=does["langs"],
            split=does["tests"][0]["split"],
            **self.where,
            batch_tokens=does["batch_tokens"],
        )

    def _composition(self) -> dict[str, Any]:
        """Evaluates modules as they are."""
        places = self._places()
        if len(places) > 1:
            quoted = ", ".join(f'"{place}"' for place in places)
            return self._scores(f"{self.run.does['kind']}({quoted})")
        return self._scores(places[0] if places else "none")

    def _train(self, lr: float) -> dict[str, Any]:
        from adapter_stilts.training.target import fuse, train_target

        run, does = self.run, self.does
        seed = run.seed_target or 0
        options = {**self._training(seed, lr), "fresh_head": does["head"] == "fresh"}
        options["source_lang"] = does["source_lang"]
        if kind := FUSIONS.get(does["kind"]):
            options.pop("method")
            made = self._anew(fuse, self._places(), run.target, kind=kind, **options)
        else:
            made = self._anew(train_target, run.target, on=self._below(), **options)
        found = self._of_module(made.path)
        out = self.folder.dev(self.id)
        dev = dev_halves(get_target(run.target), made.path, out, does, seed)
        dev_scores = {"dev_choose": dev.choose, "dev_select": dev.select, "dev_whole": dev.whole}
        return {**found, "lr": lr, **dev_scores}

    def _below(self) -> str:
        """What the target's module is stacked on."""
        parts = [] if self.run.does["below"] == "none" else [self.run.does["below"]]
        parts += self._sources()
        if not parts:
            return "none"
        if len(parts) > 1:
            return f"stack({', '.join(parts)})"
        return self._places()[0] if len(self._places()) == 1 else parts[0]

    def _sources(self) -> list[str]:
        """The intermediate modules, as one part of a composition."""
        places = [f'"{place}"' for place in self._places()]
        if len(places) > 1:
            return [f"{SUMS[self.run.does['kind']]}({', '.join(places)})"]
        return places

    def _tested_composition(self, module: Path) -> str:
        """The composition that is tested: other languages may have another module at the bottom."""
        if self.run.does["below"] == "lang:*":
            parts = ["lang:*", *self._sources(), f'"{module}"']
            return f"stack({', '.join(parts)})"
        return str(module)

    def _places(self) -> list[str]:
        return [each if "/" in each else str(self.folder.module(each)) for each in self.run.on]

    def _training(self, seed: int, lr: float | None) -> dict[str, Any]:
        """Options of every training of a study: the last weights are kept, nothing stops early,
        so that dev has no part in it."""
        does, out = self.does, self.folder.module(self.id)
        return {
            **self.where,
            "method": self.run.method,
            "steps": does["steps"],
            "limit": does["rows"],
            "dev_limit": 64,
            "lr": lr,
            "batch_tokens": does["batch_tokens"],
            "evaluations": 1,
            "keep": "last",
            "patience": 0,
            "seed": seed,
            "out": out,
            "resume": True,
            "quiet": True,
        }

    def _scores(self, composition: str) -> dict[str, Any]:
        """Scores by target, language and metric; `evaluate` writes the items' files beside."""
        from adapter_stilts.evaluation.run import evaluate

        does = self.does
        scores: dict[str, dict[str, dict[str, float]]] = {}
        for test in does["tests"]:
            target = get_target(test["task"])
            layer = {} if target.retrieval is None else {"layer": does["layer"]}
            out = self.folder.path / "items" / self.id / target.name
            (found,) = evaluate(
                target.name,
                compositions=[composition],
                langs=does["langs"],
                split=test["split"],
                limit=test["items"],
                **self.where,
                batch_tokens=does["batch_tokens"],
                out=out,
                overwrite=True,  # the folder is this run's alone: what is half there is replaced
                **layer,
            )
            scores[target.name] = {k: dict(v) for k, v in found.scores.items()}
        return {"scores": scores, "items": f"items/{self.id}"}

    def _of_module(self, place: Path) -> dict[str, Any]:
        record = ModuleRecord.read(place)
        train = record.data.get("train", {})
        rows = train.get("examples", 0) if isinstance(train, dict) else 0
        return {
            "steps": record.steps,
            "train_rows": rows if isinstance(rows, int) else 0,
            "lr": float(record.recipe.get("lr", 0.0)),
            "parameters": record.parameters,
            "train_seconds": record.seconds,
            "disk_bytes": size_of(place),
            "peak_memory_bytes": int(record.peak_memory_mb * 1e6),
        }

    def _result(self, **found: Any) -> RunResult:
        from adapter_stilts.backbones import default_device
        from adapter_stilts.environment import machine

        return RunResult(
            run=self.id,
            study=self.study,
            **{name: getattr(self.run, name) for name in OF_RUN},
            machine=machine(),
            device=str(default_device()),
            version=__version__,
            commit=_commit(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            **found,
        )


def _is_whole(module: Path) -> bool:
    """Whether a module lies there; a damaged one is thrown away."""
    if not module.exists():
        return False
    try:
        ModuleRecord.read(module).verify(module)
    except UserError as error:
        sys.stderr.write(f"begun anew: {error}\n")
        shutil.rmtree(module.parent)
        return False
    return True


def _known_score(score: float | None, result: RunResult) -> float:
    """A score of a half of English dev; to choose by what is not there would be no choice."""
    if score is None:
        raise FailureError(
            f"the record of run {result.run} has no score of English dev to choose by: take its "
            "line out of results.jsonl, so that it is done again"
        )
    return score


def _commit() -> str:
    """The commit of the checkout that this package is run from; empty elsewhere."""
    git, root = shutil.which("git"), Path(__file__).parents[3]
    if git is None or not (root / ".git").exists():
        return ""
    asked = [git, "-C", str(root), "rev-parse", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _check_device() -> None:
    if os.environ.get(DEVICE) == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError(f"device cuda: {socket.gethostname()} has no GPU that torch can use")


def finish(folder: StudyFolder, name: str) -> int:
    """Does a run; its exit code: 0 done, 1 failed, 2 the user's mistake, 130 interrupted."""
    try:
        # Ray's workers block the signal, and a shell in the background ignores it: processes
        # inherit either.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        load_plugins()
        _check_device()
        work(folder, name)
        return 0
    except (UserError, FailureError) as error:
        sys.stderr.write(f"adstilts: {error}\n")
        return error.exit_code
    except BaseException as error:
        if getattr(error, "exit_code", None) == 130 or isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(finish(StudyFolder(Path(sys.argv[1])), sys.argv[2]))
