"""A made study: a few arms on three targets, with items and both stages' seeds."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapter_stilts.study.folder import append_result, read_results
from adapter_stilts.study.graph import Plan, RunResult
from adapter_stilts.study.work import OF_RUN

LANGUAGES = {"xnli": ("en", "de", "sw", "zh"), "xquad": ("en", "hi", "ar"), "panx": ("en", "ka")}
METRICS = {"xnli": "accuracy", "xquad": "f1", "panx": "f1"}
ARMS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "singles:squad": ("singles", ("squad",), 0.62),
    "singles:mnli": ("singles", ("mnli",), 0.60),
    "fusion-full": ("fusion-full", ("squad", "mnli"), 0.55),
    "multitask": ("multitask", ("squad", "mnli"), 0.58),
    "alone": ("alone", (), 0.5),
}
STUDY = """
name: made
backbone: embedded
intermediate: [squad, mnli]
targets: [xnli, xquad, panx]
arms: [singles, fusion-full, multitask, alone]
budget: {steps: 300}
rates: [1.0e-3]
contrasts:
- {name: S against F, first: singles, second: fusion-full, primary: true}
- {name: S against M, first: singles, second: multitask, primary: true}
- {name: alone against F, first: alone, second: fusion-full}
"""


def benchmark(name: str) -> Any:
    """A file of `benchmarks`, which is not in every copy of the source."""
    folder = Path(__file__).parents[1] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("no benchmarks here", allow_module_level=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)


def write_study(folder: Path, *, items: int = 60, seeds: int = 3, **changed: Any) -> Path:
    """Writes `made.yaml` and the records beside it; says where the file is.

    What is asked for again is copied: its hundreds of files take a second to make.
    """
    asked = json.dumps([items, seeds, changed], sort_keys=True)
    if asked not in _MADE:
        _MADE[asked] = tempfile.TemporaryDirectory()
        _write_study(Path(_MADE[asked].name), items=items, seeds=seeds, **changed)
    shutil.copytree(_MADE[asked].name, folder, dirs_exist_ok=True)
    return folder / "made.yaml"


_MADE: dict[str, tempfile.TemporaryDirectory[str]] = {}


def _write_study(folder: Path, *, items: int, seeds: int, **changed: Any) -> None:
    path = folder / "made.yaml"
    path.write_text(STUDY, encoding="utf-8")
    for arm, target in ((arm, target) for arm in ARMS for target in LANGUAGES):
        for first in range(seeds):
            for second in range(seeds):
                write_run(folder / "made", arm, target, first, second, items, **changed)


def write_run(
    folder: Path, arm: str, target: str, first: int, second: int, items: int, **changed: Any
) -> None:
    """One run: its line, and its items."""
    group, intermediate, rate = ARMS[arm]
    random = np.random.default_rng([first, second, *f"{arm} {target}".encode()])
    run = f"{arm.replace(':', '-')}-{target}-{first}-{second}"
    scores: dict[str, dict[str, float]] = {}
    dev = 0.0
    for split, language in [("dev", "en"), *(("test", each) for each in LANGUAGES[target])]:
        right = (random.random(items) < rate + random.normal(0, 0.02)).astype(float)
        rows: dict[str, Any] = {
            "id": [f"q{k:04}" for k in range(items)],
            "cluster": [f"q{k:04}" for k in range(items)],
            "numerator": right,
            "denominator": np.ones(items),
        }
        if not changed.get("old"):
            rows["length"] = _lengths(language, items)
            rows["answer_length"] = pa.array(_answers(target, items), pa.int32())
        kind = "select" if split == "dev" else "tsv"
        place = folder / "items" / run / target / f"{split}-{language}.{kind}.items.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows), place)
        if split == "dev":
            dev = 100 * float(right.mean())
        else:
            scores[language] = {METRICS[target]: 100 * float(right.mean())}
    if arm == "fusion-full":
        _write_attention(folder / "items" / run, target)
    size = len(intermediate) + 1
    record: dict[str, Any] = {
        "run": run, "study": "made", "stage": "target", "arm": group,
        "intermediate": intermediate, "target": target, "method": "adapter",
        "seed_intermediate": first, "seed_target": second, "steps": 300, "train_rows": 1000,
        "dev_select": dev, "scores": {target: scores}, "items": f"items/{run}",
        "seconds": 100.0 * size, "parameters": 1_000_000 * size, "disk_bytes": 4 << 20,
        "peak_memory_bytes": 900 << 20, "machine": "two cores", "device": "cpu",
    }  # fmt: skip
    if changed.get("unequal") == arm:
        record["unequal"] = True
    made = RunResult.model_validate_json(json.dumps(record))
    append_result(folder / "results.jsonl", made)


def change_record(folder: Path, line: int, **changed: Any) -> None:
    """Changes fields of one line of the records."""
    path = folder / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changed})
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")


def rename_to_plan(folder: Path, plan: Plan) -> dict[str, RunResult]:
    """Gives made records the names of the plan's runs that they can be of; leaves out the others.

    Returns:
        The records by their names.
    """
    path, found = folder / "results.jsonl", {}
    made = {(r.arm, r.target, r.intermediate): r for r in read_results(path).runs.values()}
    for run in plan.runs.values():
        record = made.get((run.arm, run.target, run.intermediate))
        if run.stage == "target" and record is not None:
            fields = {name: getattr(run, name) for name in OF_RUN}
            rate = plan.runs[run.rates[0]].does["lr"]
            found[run.id] = record.model_copy(update={"run": run.id, "lr": rate, **fields})
    path.unlink()
    for each in found.values():
        append_result(path, each)
    return found


def _lengths(language: str, items: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Item k has k characters, of Chinese half as many."""
    return (np.arange(items) // (2 if language == "zh" else 1)).astype(np.int32)


def _answers(target: str, items: int) -> list[int | None]:
    return [1 + k % 9 if target == "xquad" else None for k in range(items)]


def _write_attention(place: Path, target: str) -> None:
    """Squad is listened to above, mnli below."""
    weight = {layer: (layer + 1) / 13 for layer in range(12)}
    layers = {layer: {"squad": w, "mnli": 1 - w} for layer, w in weight.items()}
    languages = {name: {"squad": 0.5, "mnli": 0.5} for name in LANGUAGES[target]}
    made = {
        "sources": ["squad", "mnli"], "layers": layers, "languages": languages,
        "entropy": dict.fromkeys(languages, 0.8),
    }  # fmt: skip
    (place / "attention.json").write_text(json.dumps(made), encoding="utf-8")
