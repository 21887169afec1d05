"""A task whose answers are numbers: trained, used, evaluated and shared like any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from adapter_stilts import load, train_adapter
from adapter_stilts.errors import UserError
from adapter_stilts.metrics import get_metric, primary
from adapter_stilts.own.build import load_task_file
from adapter_stilts.own.check import read_all
from adapter_stilts.serving.pool import stock
from adapter_stilts.zoo.record import ModuleRecord
from cli_kit import Result
from own_kit import task_file

Run = Callable[..., Result]
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_pairs"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """The example's task file, in a place of the test's own."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "pairs")) / "likeness.yaml"


def test_correlation_is_that_of_scipy() -> None:
    found, gold = [0.1, 0.7, 0.3, 2.0], [0.0, 3.0, 2.0, 4.0]
    scores = get_metric("correlation").compute(predictions=found, references=gold)
    assert scores["pearson"] == pytest.approx(100 * pearsonr(found, gold).statistic)
    assert scores["spearman"] == pytest.approx(100 * spearmanr(found, gold).statistic)
    assert primary("correlation") == "spearman"
    same = get_metric("correlation").compute(predictions=[1.0, 1.0], references=[0.0, 1.0])
    assert same == {"spearman": 0.0, "pearson": 0.0}


def test_scores_of_pairs_are_learnt(pairs: Path, tiny_xlmr: Path, zoo: Path) -> None:
    """Squared errors fall: twelve pairs are learnt by heart."""
    task = load_task_file(pairs).task
    trained = train_adapter(task, backbone=str(tiny_xlmr), steps=150, lr=6e-3, evaluations=1)
    module = load(trained.path)
    rows = [task.to_example(row) for row in _rows(pairs.parent / "train.csv")]
    found = module.predict([row for row in rows if row is not None]).values
    assert pearsonr(found, [row["score"] for row in rows if row is not None]).statistic > 0.8
    assert trained.record.scores["pearson"] == pytest.approx(
        module.score([row for row in rows[2:10] if row is not None])["pearson"], abs=1e-3
    )


def _rows(path: Path) -> list[dict[str, str]]:
    head, *lines = path.read_text("utf-8").splitlines()
    return [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]


def test_module_goes_every_way(
    run: Run, pairs: Path, tiny_xlmr: Path, zoo: Path, tmp_path: Path
) -> None:
    given = ["--task", str(pairs), "--backbone", str(tiny_xlmr), "--method", "lora"]
    code, out, err = run("train-adapter", *given, "--steps", "2", "--evaluations", "1")
    assert code == 0, err
    assert "likeness-lora: dev spearman" in out
    asked = ["--text-a", "A dog runs.", "--text-b", "Ein Hund rennt."]
    code, out, err = run("predict", "--with", "likeness-lora", *asked, "--json")
    assert code == 0, err
    score = json.loads(out)["score"]
    code, out, err = run(
        "evaluate",
        str(pairs),
        "--with",
        "likeness-lora",
        "--langs",
        "all",
        "--out",
        str(tmp_path / "found"),
        "--json",
    )
    assert code == 0, err
    assert "spearman" in out and "pearson" in out and '"de"' in out
    about = stock(["likeness-lora"], backbone=None, zoo=True, most=5, precision="fp32").about
    own = about["likeness-lora"]
    assert (own.kind, own.needs) == ("regression", ["text_a"])
    code, out, err = run("zoo", "export", "likeness-lora", "--out", str(tmp_path / "out"))
    assert code == 0, err
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "num_labels=1" in card and "text-classification" in card
    place = zoo / tiny_xlmr.name / "likeness-lora"
    assert ModuleRecord.read(place).head == "regression"
    again = load(place).predict_one({"text_a": asked[1], "text_b": asked[3]})
    assert again["score"] == pytest.approx(score, abs=1e-5)
    one = load(place).predict_one({"text": asked[1]})  # as a classification takes it
    assert one == load(place).predict_one({"text_a": asked[1]})


def test_scores_are_finer_than_half_precision(pairs: Path, tiny_xlmr: Path, zoo: Path) -> None:
    task, half = load_task_file(pairs).task, "bf16"
    trained = train_adapter(task, backbone=str(tiny_xlmr), steps=2, evaluations=1, precision=half)
    rows = [{"text_a": f"A dog runs {n} times.", "text_b": "A dog runs."} for n in range(40)]
    found = torch.tensor(load(trained.path, precision=half).predict(rows).values)
    assert (found != found.bfloat16()).sum() > 30
    assert len(found.unique()) == len(rows)


@pytest.mark.parametrize(
    ("scores", "said"), [((1, 2.5), "from 1 to 2.5"), ((3, 3), "from 3 to 3: all are alike")]
)
def test_range_of_the_scores_is_said(tmp_path: Path, scores: tuple[float, ...], said: str) -> None:
    rows = "".join(f"a {n},{score}\n" for n, score in enumerate(scores))
    path = task_file(tmp_path, "a.csv", "text,score\n" + rows, head="regression")
    assert f"train: 2 examples; scores {said}" in "\n".join(read_all(load_task_file(path)))


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [("much", ""), ("nan", ""), ("", ""), ('"0,2"', "a point before"), ("1e30", "divide")],
)
def test_score_that_is_no_number_is_refused(pairs: Path, cell: str, remedy: str) -> None:
    path = pairs.parent / "train.csv"
    path.write_text(path.read_text("utf-8").replace(",0.2\n", f",{cell}\n"), "utf-8")
    from adapter_stilts.data.load import load_examples

    with pytest.raises(UserError, match=rf"train\.csv, line 3.*{remedy}"):
        load_examples(load_task_file(pairs).task, "train")
