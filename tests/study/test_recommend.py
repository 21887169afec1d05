"""`recommend`: the module that was trained on the target itself is found among others."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from adapter_stilts import recommend, train_target
from adapter_stilts.errors import InterruptedTrainingError, UserError
from adapter_stilts.study import recommender
from adapter_stilts.study.recommendation import Ranked, Recommendation
from adapter_stilts.tasks.spec import HeadKind
from adapter_stilts.zoo.local import save_module
from cli_kit import assert_one_line, call_cli
from made_modules import make_engine, make_module, make_record, remove_module
from own_kit import task_file

pytestmark = pytest.mark.whole

TASKS = ("anli-plus", "mnli", "squad")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fill(backbone: str, folder: Path) -> None:
    """Saves random modules of three tasks, as bottleneck adapters and one LoRA."""
    engine = make_engine(backbone)
    for seed, name in enumerate((*TASKS, "squad-lora")):
        task, method = name.removesuffix("-lora"), "lora" if "lora" in name else "bottleneck"
        head: HeadKind = "span" if task == "squad" else "classification"
        make_module(engine, name, method, head, seed=seed)
        record = make_record(engine, name, method, head, task=task, run=f"{seed}" * 16)
        save_module(engine, record, head, folder / name)
        remove_module(engine, name)


@pytest.fixture
def filled(tiny_xlmr: Path, zoo: Path, make_once: Callable[..., Path]) -> Path:
    """A zoo with a copy of them."""
    made = make_once("to recommend", lambda folder: fill(str(tiny_xlmr), folder))
    return Path(shutil.copytree(made, zoo / "tiny"))


@pytest.fixture(scope="session")
def learnt(tiny_xlmr: Path, make_once: Callable[..., Path]) -> Path:
    """A module that was trained on the target's own data, until it knows them."""
    options: dict[str, Any] = {
        "backbone": str(tiny_xlmr),
        "data": "sample",
        "precision": "fp32",
        "quiet": True,
    }

    def learn(folder: Path) -> None:
        train_target("udpos", steps=150, evaluations=1, out=folder / "planted", **options)

    return make_once("learnt", learn) / "planted"


@pytest.fixture
def planted(filled: Path, learnt: Path) -> Path:
    """Beside them `planted`, which has learnt the target."""
    shutil.copytree(learnt, filled / "planted")
    return filled


def test_the_planted_module_is_first(planted: Path) -> None:
    names = [str(planted / name) for name in (*TASKS, "planted")]
    options: dict[str, Any] = {"data": "sample", "precision": "fp32", "draws": 20, "examples": 60}
    found = recommend("udpos", modules=names, **options)
    assert found.best.module == "planted" and found.best.task == "udpos"
    assert set(found.best.scores) == {"logme", "text", "parameters"}
    for rule in ("logme", "text", "parameters"):
        others = [each.scores[rule] for each in found.modules[1:]]
        assert found.best.scores[rule] > max(others)
    assert found.best.scores["text"] == pytest.approx(1)
    assert found.plain is not None and found.best.scores["logme"] > found.plain
    assert found.best.first == 1 and (found.best.low, found.best.high) == (1, 1)
    assert sum(each.first for each in found.modules) == pytest.approx(1)
    assert not found.disagreeing and "only a training shows" in found.answer
    assert json.loads(json.dumps(found.as_dict()))["modules"][0]["module"] == "planted"
    again = recommend("udpos", modules=names, **options)
    assert [each.scores for each in again.modules] == [each.scores for each in found.modules]


def test_probing_halves(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommender, "PROBE_STEPS", 10)
    names = [*TASKS, "squad-lora"]
    found = recommend(
        "udpos", modules=names, data="sample", precision="fp32", draws=20, rules=["text"],
        probe=True, examples=48,
    )  # fmt: skip
    by_steps = {
        steps: {each.module: each.probe[steps] for each in found.modules if steps in each.probe}
        for steps in (10, 20)
    }
    assert list(map(len, by_steps.values())) == [4, 2]
    lost = by_steps[10].keys() - by_steps[20].keys()
    assert max(by_steps[10][name] for name in lost) <= min(by_steps[10][n] for n in by_steps[20])
    order = [each.module for each in found.modules]
    assert order[:2] == sorted(by_steps[20], key=lambda name: -by_steps[20][name])
    assert "after 20 steps" in found.answer


def test_a_short_training_that_is_stopped_promises_nothing(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*asked: Any, **options: Any) -> None:
        raise InterruptedTrainingError("saved in /tmp/probe: add --resume")

    monkeypatch.setattr("adapter_stilts.training.target.train_target", stopped)
    with pytest.raises(InterruptedTrainingError) as caught:
        recommend("udpos", modules=["squad", "mnli"], data="sample", rules=["parameters"])
    assert "resume" not in str(caught.value)
    assert caught.value.exit_code == 130


def test_what_has_learnt_the_target_cannot_be_probed(planted: Path) -> None:
    with pytest.raises(UserError, match="'planted' has learnt udpos itself"):
        recommend("udpos", modules=["planted", "mnli"], data="sample", probe=True)


@pytest.mark.parametrize(
    "target", ["xnli", "xcopa", "tydiqa", "lareqa"]
)  # classification, choice, span, retrieval
def test_every_kind_of_head(filled: Path, target: str) -> None:
    found = recommend(
        target, data="sample", precision="fp32", draws=20, rules=["logme", "text"], examples=48
    )
    assert {each.module for each in found.modules} == set(TASKS)
    has_labels = target != "lareqa"
    assert all(("logme" in each.scores) == has_labels for each in found.modules)
    assert ("logme" in found.silent) != has_labels
    assert all("text" in each.scores for each in found.modules)
    assert 1 <= found.best.low <= found.best.high <= 3


def test_the_command_in_eighty_columns(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = ("recommend", "udpos", "--data", "sample", "--draws", "20", "--precision", "fp32")
    code, out, _ = call_cli(monkeypatch, capsys, *asked, "--by", "logme,parameters")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    said, _, table = out.partition("\nmodule ")
    header = table.splitlines()[0].split()
    assert header == [*["LogME", "weights", "mean", "rank", "first", "place", "seconds"]]
    assert {line.split()[0] for line in table.splitlines()[1:4]} == set(TASKS)
    assert "is predicted to be best" in " ".join(said.split())
    assert "20 draws of half of" in out and "LogME of the backbone alone" in out
    code, out, err = call_cli(
        monkeypatch, capsys, *asked, "--by", "text", "--method", "lora", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    assert [each["module"] for each in found["modules"]] == ["squad-lora"]
    assert found["answer"] == "squad-lora is the only module, so there is nothing to rank"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("tydiqq",), ["did you mean 'tydiqa'"]),
        (("squad",), ["squad is an intermediate task"]),
        (("tatoeba",), ["tatoeba has no training data"]),
        (("udpos", "--with-from", ""), ["composition ''"]),
        (("udpos", "--with-from", "sqad"), ["no module 'sqad'", "'squad'"]),
        (("udpos", "--with-from", "squad", "--with-from", "squad"), ["'squad' is named twice"]),
        (("udpos", "--method", "ia3"), ["no ia3 module", "bottleneck: anli-plus, mnli, squad"]),
        (("udpos", "--data", "nowhere"), ["nowhere"]),
        (("udpos", "--examples", "2"), ["2 examples", "at least 10"]),
        (("udpos", "--draws", "1"), ["1 draws", "at least 20"]),
        (("udpos", "--draws", "99999999999"), ["99999999999 draws", "10000 at most"]),
        (("lareqa", "--by", "logme", "--with-from", "squad"), ["lareqa", "logme", "--by"]),
        (("udpos", "--by", "logm"), ["no rule 'logm'", "logme"]),
        (("udpos", "--by", ","), ["no rule to rank by"]),
    ],
)
def test_one_line_for_a_mistake(
    filled: Path,
    options: tuple[str, ...],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = () if "--data" in options else ("--data", "sample")
    assert_one_line(call_cli(monkeypatch, capsys, "recommend", *options, *where), 2, *words)


def test_an_empty_zoo_and_an_empty_folder(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no bottleneck module of an intermediate task"):
        recommend("udpos", data="sample")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no module lies in that folder"):
        recommend("udpos", modules=[str(tmp_path / "empty")], data="sample")


def test_a_task_of_three_rows_ranks_nothing(filled: Path, tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.csv", "text,label\nfine,yes\nbad,no\nnice,yes\n")
    with pytest.raises(UserError, match="no rule 'logm'"):
        recommend(path, rules="text, logm")
    with pytest.raises(UserError, match="mine has 3 training examples here: at least 10"):
        recommend(path, rules="logme", examples=20)


def test_a_source_without_data_has_no_text(filled: Path, tmp_path: Path) -> None:
    """The target's data lies in the folder, that of the modules' tasks does not."""
    from importlib.resources import files

    samples = Path(str(files("adapter_stilts.data") / "samples"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "udpos").symlink_to(samples / "udpos")
    found = recommend(
        "udpos", data=str(tmp_path / "data"), precision="fp32", draws=20, rules=["logme", "text"]
    )
    assert all(set(each.scores) == {"logme"} for each in found.modules)
    assert {f"text of {task}" for task in TASKS} == set(found.silent)


def _ranked(name: str, first: float, low: int, high: int, **scores: float) -> Ranked:
    told = {"logme": scores.get("logme", 0.0), "text": scores.get("text", 0.0)}
    return Ranked(name, name, "lora", told, 1.0, first, low, high, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ([("a", 0.99, 1, 1, 2.0, 2.0), ("b", 0.01, 2, 2, 1.0, 1.0)], "hardly change"),
        ([("a", 0.7, 1, 2, 2.0, 2.0), ("b", 0.3, 1, 2, 1.0, 1.0)], "do not tell the modules apart"),
        ([("a", 0.99, 1, 1, 2.0, 1.0), ("b", 0.01, 2, 2, 1.0, 2.0)], "a by logme, b by text"),
        (
            [("a", 0.7, 1, 2, 2.0, 2.0), ("b", 0.3, 1, 2, 1.0, 1.0), ("c", 0.0, 3, 3, 0.0, 0.0)],
            "among the first 2 in 95 %: train on a and b",
        ),
    ],
)
def test_the_sentence_claims_no_more_than_there_is(
    modules: list[tuple[str, float, int, int, float, float]], words: str
) -> None:
    ranked = tuple(_ranked(n, f, lo, hi, logme=x, text=y) for n, f, lo, hi, x, y in modules)
    found = Recommendation("t", "b", 20, 20, ranked, None, {}, {})
    assert words in found.answer


def test_one_short_training_tells_nothing_of_how_sure_it_is() -> None:
    ranked = tuple(
        dataclasses.replace(_ranked(name, 1.0, 1, 1), scores={"parameters": score})
        for name, score in (("a", 0.2), ("b", 0.1))
    )
    said = Recommendation("t", "b", 20, 20, ranked, None, {}, {}).answer
    assert said.startswith("a is predicted to be best by one short training")
    assert "100 %" not in said and "--by" in said
