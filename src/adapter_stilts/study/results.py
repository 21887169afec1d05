"""What finished runs leave: a record each, as a line of JSON, and what their fusions listen to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.paths import write_whole
from adapter_stilts.schema import Count, Line, demand

if TYPE_CHECKING:
    from adapter_stilts.evaluation.explain import Explanation


RESULTS = "results.jsonl"
"""The file's name in a study's folder."""
Stage = Literal["intermediate", "rate", "target", "composition"]
"""`rate`: a training that is only scored on English dev, to choose the learning rate by."""
Score = Annotated[float, Field(ge=-100.000001, le=100.000001)]
"""In percent; a correlation may be below zero."""
Amount = Annotated[float, Field(ge=0)]


Word = Annotated[Line, demand(str.split, "a text was expected")]


class RunResult(BaseModel):
    """One finished run of a study.

    Attributes:
        run: hash of everything that decides the run.
        arm: what is compared; of an intermediate module, the module's name.
        intermediate: names of the intermediate modules that the arm stands on.
        target: the target task; empty where an intermediate module was trained.
        seed_intermediate, seed_target: None where the arm lacks that stage.
        lr: the learning rate that was used; 0 where nothing was trained.
        dev_choose, dev_select: scores on the two halves of English dev; learning rates are chosen
            by the first, arms by the second. None where there is no dev.
        dev_whole: both are the score of all of English dev, since it is no sum over items.
        scores: by target, language and metric, in percent. `rate` and `intermediate` have none.
        items: folder of the per-item files, relative to the study's folder: that of the target
            has `test-<lang>.*.items.parquet`, as `evaluation.items` writes them.
        seconds: of all that the run did this time, evaluation included.
        train_seconds: of the training of its module, whichever run did it; None without one.
        unequal: the arm has another budget than the study's, written by hand.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    run: Word
    study: Line
    stage: Stage
    arm: Word
    intermediate: tuple[Line, ...] = ()
    target: Line = ""
    method: Word
    seed_intermediate: int | None = None
    seed_target: int | None = None
    steps: Count = 0
    train_rows: Count = 0
    lr: Amount = 0.0
    dev_choose: Score | None = None
    dev_select: Score | None = None
    dev_whole: bool = False
    scores: dict[Line, dict[Line, dict[Line, Score]]] = {}
    items: Annotated[str, Field(pattern=r"^(items/[A-Za-z0-9][A-Za-z0-9._-]*)?$")] = ""
    seconds: Amount = 0.0
    train_seconds: Amount | None = None
    parameters: Count = 0
    disk_bytes: Count = 0
    peak_memory_bytes: Count = 0
    machine: Line = ""
    device: Line = ""
    version: Line = ""
    commit: Line = ""
    unequal: bool = False
    created: Line = ""


@dataclass
class Results:
    """What a file of results holds.

    `damaged` are lines that are no whole records, by number and with what is wrong; `wrong` are
    records that cannot be of their run, by run. Their runs count as not done.
    """

    runs: dict[str, RunResult] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def read_results(path: Path) -> Results:
    """The records of a file, the last one of every run; none where there is no file.

    Raises:
        UserError: something is there that cannot be read.
    """
    found = Results()
    for number, line in _lines(path):
        try:
            record = RunResult.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            found.damaged[number] = f"{place}: {first['msg']}" if place else str(first["msg"])
        else:
            found.runs[record.run] = record
    return found


def append_result(path: Path, record: RunResult) -> None:
    """Adds a record as one line; of several processes, one after the other.

    Where an earlier line was cut off, the new one begins on a line of its own.

    Raises:
        FailureError: the disk is full or the folder cannot be written.
    """
    line = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")), path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            broken = False
            if size:
                file.seek(size - 1)
                broken = file.read(1) != b"\n"
            file.write(b"\n" * broken + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FailureError(
            f"cannot write {path} ({error.strerror or error}): free some space; what is written "
            "is kept"
        ) from error


def drop_results(path: Path, runs: set[str]) -> None:
    """Takes the records of runs out of a file; lines that are no records stay.

    Raises:
        FailureError: the disk is full or the folder cannot be written.
    """
    if not runs:
        return
    kept = []
    try:
        with FileLock(path.with_name(f".{path.name}.lock")):
            for _, line in _lines(path):
                try:
                    name = RunResult.model_validate_json(line).run
                except ValidationError:
                    name = ""
                if name not in runs:
                    kept.append(line.decode("utf-8", "replace") + "\n")
            write_whole(path, "".join(kept))
    except OSError as error:
        raise FailureError(f"cannot write {path} ({error.strerror or error})") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if path.exists() or path.is_symlink():  # a link may lead nowhere
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: the records cannot be read ({error.strerror})") from error
        for number, line in enumerate(content.split(b"\n"), 1):
            if line.strip():
                yield number, line


ATTENTION = "attention.json"
ATTENTION_TEXTS = 16
"""Of every language: some thousand tokens, over which attention is averaged."""


class Attention(BaseModel):
    """Mean attention weights of a fusion, by layer (over languages) and language (over layers)."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    sources: tuple[str, ...]
    layers: dict[int, dict[str, float]]
    languages: dict[str, dict[str, float]]
    entropy: dict[str, float]

    def called(self, names: Sequence[str]) -> Attention:
        """The same with its sources called otherwise, in their order.

        Modules of another seed have other names, and what they have learnt has not.
        """
        if len(names) != len(self.sources):
            return self
        new = dict(zip(self.sources, names, strict=True))

        def renamed(parts: Mapping[Any, Mapping[str, float]]) -> dict[Any, dict[str, float]]:
            return {
                key: {new.get(name, name): weight for name, weight in part.items()}
                for key, part in parts.items()
            }

        return Attention(
            sources=tuple(names),
            layers=renamed(self.layers),
            languages=renamed(self.languages),
            entropy=self.entropy,
        )


def keep_attention(
    module: Path, target: str, names: Mapping[str, str], items: Path, **options: Any
) -> None:
    """Reads some texts of a target through its fusion, and writes what it attended to.

    Args:
        names: by the folder of a source, what it is called in the study.
        items: the folder of the run's scores, where the file is put.
        options: as of `explain`.
    """
    from adapter_stilts.evaluation.explain import explain  # not for the report

    found = summarise(explain(str(module), task=target, limit=ATTENTION_TEXTS, **options), names)
    write_whole(items / ATTENTION, found.model_dump_json() + "\n")


def summarise(found: Explanation, names: Mapping[str, str]) -> Attention:
    """The part of an explanation that is kept."""

    def called(weights: Mapping[str, float]) -> dict[str, float]:
        return {_name(name, names): weight for name, weight in weights.items()}

    return Attention(
        sources=tuple(_name(name, names) for name in found.sources),
        layers={layer: called(weights) for layer, weights in found.average.items()},
        languages={name: called(found.over_layers(name)) for name in found.weights},
        entropy=dict(found.entropy_over_layers),
    )


def _name(source: str, names: Mapping[str, str]) -> str:
    place = source.strip('"')
    return names.get(place) or Path(place).name


def read_attention(path: Path) -> Attention | None:
    """The file of a run; None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        return Attention.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"no summary of a fusion: {error.errors()[0]['msg']}") from error


def mean_attention(each: Sequence[Attention]) -> Attention:
    """The mean over runs of one fusion, such as its seeds; what all of them have."""

    def mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: fmean(p[name] for p in parts) for name in shared(parts)}

    def means(parts: Sequence[Mapping[Any, Mapping[str, float]]]) -> dict[Any, dict[str, float]]:
        return {key: mean([part[key] for part in parts]) for key in shared(parts)}

    def shared(parts: Sequence[Mapping[Any, Any]]) -> list[Any]:
        return [key for key in parts[0] if all(key in part for part in parts)]

    return Attention(
        sources=each[0].sources,
        layers=means([a.layers for a in each]),
        languages=means([a.languages for a in each]),
        entropy=mean([a.entropy for a in each]),
    )
