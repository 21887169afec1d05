"""Finding metrics, and what every metric has in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from datasets import Dataset

from adapter_stilts.errors import UserError
from adapter_stilts.metrics import get_metric, metric_names, primary

LABELS = ([1, 0, 1, 1], [1, 0, 0, 1])
TAGS = ([["NOUN", "VERB"], ["DET"]], [["NOUN", "NOUN"], ["DET"]])
ANSWERS = (
    [
        {"id": "q1", "prediction_text": "Rome", "no_answer_score": 0.25},
        {"id": "q2", "prediction_text": "Paris", "no_answer_score": 0.5},
    ],
    [
        {"id": "q1", "answers": {"text": ["Rome", "in Rome"], "answer_start": [4, 1]}},
        {"id": "q2", "answers": {"text": ["Lyon"], "answer_start": [0]}},
    ],
)
PAIRS = ([["de-1", "en-1"], ["de-2", "en-3"]], [["de-1", "en-1"], ["de-2", "en-2"]])
RANKINGS = ([["a", "b"], ["c"]], [["b"], ["c", "d"]])
NUMBERS = ([1.0, 2.5, 3.0], [0.5, 2.0, 4.0])
INPUTS: dict[str, tuple[list[Any], list[Any]]] = {
    "accuracy": LABELS,
    "bitext_f1": PAIRS,
    "correlation": NUMBERS,
    "exact_match": ANSWERS,
    "f1": LABELS,
    "map_at_20": RANKINGS,
    "mlqa": ANSWERS,
    "seqeval_f1": TAGS,
    "squad": ANSWERS,
    "squad_v2": ANSWERS,
    "tag_accuracy": TAGS,
}


def new(name: str) -> Any:
    """A metric that scores its rows without further options."""
    return type(get_metric(name))(config_name="en" if name == "mlqa" else None)


def test_the_names_are_the_modules() -> None:
    assert metric_names() == tuple(INPUTS)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("accuracy", "accuracy"),
        ("bitext_f1", "f1"),
        ("correlation", "spearman"),
        ("f1", "f1"),
        ("map_at_20", "map_at_20"),
        ("exact_match", "exact_match"),
        ("mlqa", "f1"),
        ("seqeval_f1", "f1"),
        ("squad", "f1"),
        ("squad_v2", "best_f1"),
        ("tag_accuracy", "tag_accuracy"),
    ],
)
def test_primary_is_a_key_of_the_result(name: str, key: str) -> None:
    predictions, references = INPUTS[name]
    assert primary(name) == key
    assert key in new(name).compute(predictions=predictions, references=references)


@pytest.mark.parametrize("function", [get_metric, primary])
def test_unknown_names_are_answered_with_near_ones(function: Any) -> None:
    with pytest.raises(UserError, match="no metric 'squadv2': did you mean 'squad_v2'"):
        function("squadv2")
    with pytest.raises(UserError, match="no metric '_base': choose from accuracy, bitext_f1"):
        function("_base")


@pytest.mark.parametrize("name", INPUTS)
class TestEveryMetric:
    def test_is_an_evaluate_metric(self, name: str) -> None:
        metric = new(name)
        assert isinstance(metric, evaluate.Metric)
        assert "percent" in metric.description

    def test_features_hold_its_rows(self, name: str) -> None:
        """The declared features encode the rows and give them back: nested sequences too."""
        predictions, references = INPUTS[name]
        features = new(name).features
        rows = {"predictions": predictions, "references": references}
        if name in ("squad", "exact_match", "mlqa"):  # know no no_answer_score
            plain = [{k: v for k, v in p.items() if k != "no_answer_score"} for p in predictions]
            rows["predictions"] = plain
        data = Dataset.from_dict(rows, features=features)
        assert data["predictions"][:] == rows["predictions"]
        assert data["references"][:] == references

    def test_rows_may_come_as_columns_of_a_data_set(self, name: str) -> None:
        predictions, references = INPUTS[name]
        data = Dataset.from_dict({"predictions": predictions, "references": references})
        assert new(name).compute(
            predictions=data["predictions"], references=data["references"]
        ) == new(name).compute(predictions=predictions, references=references)

    def test_adding_in_parts_is_the_same(self, name: str) -> None:
        predictions, references = INPUTS[name]
        whole = new(name).compute(predictions=predictions, references=references)
        parts = new(name)
        for prediction, reference in zip(predictions, references, strict=True):
            parts.add(prediction=prediction, reference=reference)
        assert len(parts) == len(references)
        assert parts.compute() == whole
        parts.add_batch(predictions=predictions[:1], references=references[:1])
        assert parts.compute(predictions=predictions[1:], references=references[1:]) == whole

    def test_forgets_after_computing(self, name: str) -> None:
        predictions, references = INPUTS[name]
        metric = new(name)
        first = metric.compute(predictions=predictions, references=references)
        assert len(metric) == 0
        assert metric.compute(predictions=predictions, references=references) == first

    def test_forgets_after_an_error(self, name: str) -> None:
        metric = new(name)
        with pytest.raises(ValueError):
            metric.compute(predictions=[object()], references=[object()])
        assert len(metric) == 0

    def test_nothing_to_score(self, name: str) -> None:
        with pytest.raises(ValueError, match="there are no references to score"):
            new(name).compute(predictions=[], references=[])

    def test_combines(self, name: str) -> None:
        predictions, references = INPUTS[name]
        alone = new(name).compute(predictions=predictions, references=references)
        both = evaluate.combine({"x": new(name), "y": new(name)})
        result = both.compute(predictions=predictions, references=references)
        assert result == {f"{p}_{key}": score for p in "xy" for key, score in alone.items()}


@pytest.mark.parametrize("name", ["accuracy", "f1", "map_at_20", "seqeval_f1", "tag_accuracy"])
def test_paired_metrics_want_equal_numbers(name: str) -> None:
    predictions, references = INPUTS[name]
    with pytest.raises(ValueError, match=r"\d predictions, \d references"):
        get_metric(name).compute(predictions=predictions[1:], references=references)


def test_arrays_are_rows() -> None:
    metric = get_metric("accuracy")
    metric.add_batch(predictions=np.array([1, 0]), references=np.array([1, 1]))
    assert metric.compute() == {"accuracy": 50.0}


def test_makes_no_file(tmp_path: Path) -> None:
    metric = type(get_metric("accuracy"))(cache_dir=str(tmp_path / "cache"), keep_in_memory=False)
    assert metric.compute(predictions=[1], references=[1]) == {"accuracy": 100.0}
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import os, sys
from adapter_stilts.metrics import get_metric
get_metric("accuracy").compute(predictions=[1], references=[1])  # imports what both need
child = os.fork()
metric = get_metric("accuracy")
metric.add_batch(predictions=[1, 0], references=[1, 1])
os.write(1, b"ready\\n")
assert os.read(0, 1)
os.write(1, f"{metric.compute()}\\n".encode())
if child:
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_two_processes_compute_at_once_without_a_cache(tmp_path: Path) -> None:
    """Both hold rows at the same time, and their cache can be neither made nor written.

    The cache lies below a plain file, which stops even a user whom permissions do not.
    """
    (tmp_path / "file").touch()
    environment = {**os.environ, "HF_HOME": str(tmp_path / "file" / "cache"), "HF_HUB_OFFLINE": "1"}
    for name in ("HF_METRICS_CACHE", "HF_EVALUATE_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    out, error = process.communicate("go", timeout=120)
    assert process.returncode == 0, error
    assert out == "{'accuracy': 50.0}\n" * 2
    assert (tmp_path / "file").read_bytes() == b""


def test_listing_metrics_imports_nothing_heavy() -> None:
    program = (
        "import sys, adapter_stilts.metrics as m; m.metric_names();"
        "sys.exit('torch' in sys.modules or 'evaluate' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
