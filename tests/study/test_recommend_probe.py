"""What `recommend` says first, and mistakes that are told before minutes of work."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from adapter_stilts import recommend
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study import recommender
from adapter_stilts.study.recommendation import Ranked, Recommendation
from cli_kit import call_cli
from made_modules import make_engine, remove_module, save_made
from own_kit import task_file

ROWS = "text,label\n" + "".join(f"a{k} fine,yes\na{k} bad,no\n" for k in range(10))
QUICK: dict[str, Any] = {"precision": "fp32", "draws": 20, "examples": 16}


@pytest.fixture
def two(tiny_xlmr: Path, zoo: Path) -> Path:
    folder, engine = zoo / "tiny", make_engine(str(tiny_xlmr))
    for name, head in (("squad", "span"), ("mnli", "classification")):
        save_made(engine, name, "bottleneck", head, folder / name, task=name, run=name[0] * 16)
        remove_module(engine, name)
    return folder


def recommendation(
    plain: float | None, *modules: tuple[str, float, float | None]
) -> Recommendation:
    """Modules with their LogME and their dev score after 60 steps."""
    ranked = [
        Ranked(
            name,
            name,
            "lora",
            {"logme": score},
            1.0,
            0.8,
            1,
            2,
            1.0,
            {60: dev} if dev is not None else {},
        )
        for name, score, dev in modules
    ]
    return Recommendation("t", "b", 20, 20, tuple(ranked), plain, {}, {"logme": 1.0})


NONE_ABOVE = (
    "LogME puts no module above the backbone alone, so a training without one may do as well"
)


@pytest.mark.parametrize("dev", [None, 50.0])
def test_that_no_module_is_above_the_backbone_is_said_first(dev: float | None) -> None:
    below = recommendation(0.5, ("a", 0.5, dev), ("b", 0.2, dev and dev - 1))
    assert below.above_plain == 0 and below.answer.startswith(NONE_ABOVE)
    assert below.summary().startswith(f"t: {NONE_ABOVE}")
    assert "a came out" in below.answer or "a is predicted" in below.answer
    assert NONE_ABOVE in str(below.as_dict()["answer"])
    above = recommendation(0.4, ("a", 0.5, dev), ("b", 0.2, dev and dev - 1))
    assert above.above_plain == 1 and above.answer.startswith("a ")
    untold = recommendation(None, ("a", 0.5, dev), ("b", 0.2, None))
    assert untold.above_plain is None and untold.answer.startswith("a ")
    assert recommendation(0.5, ("a", 0.5, None)).answer.startswith(NONE_ABOVE)


def test_the_answer_is_the_first_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recommendation(0.5, ("a", 0.4, None), ("b", 0.2, None))
    monkeypatch.setattr(recommender, "recommend", lambda *_, **__: made)
    code, out, _ = call_cli(monkeypatch, capsys, "recommend", "udpos", "--data", "sample")
    assert code == 0 and out.startswith("LogME puts no module above the backbone alone")
    assert "modules above it: 0 of 2" in " ".join(out.split())


def test_equal_scores_are_no_first_place() -> None:
    """On a dev of few examples, or after few steps, modules often score the same."""
    tied = recommendation(0.1, ("a", 0.5, 0.0), ("b", 0.4, 0.0), ("c", 0.3, None))
    assert tied.answer == (
        "a and b came out of the short trainings alike, with 0.0 on dev after 60 steps: a stands "
        "first by the rules alone"
    )


def test_the_rules_decide_between_equal_scores(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def shortly(work: Any, on: str, method: str, steps: int, folder: Path) -> tuple[Path, float]:
        given.append(on)
        return folder, 50.0

    monkeypatch.setattr(recommender, "train_shortly", shortly)
    options: dict[str, Any] = {**QUICK, "data": "sample", "rules": ["text"]}
    ranked = [
        each.module for each in recommend("xnli", modules=["squad", "mnli"], **options).modules
    ]
    for names in (["squad", "mnli"], ["mnli", "squad"]):
        found = recommend("xnli", modules=names, probe=True, **options)
        assert [each.module for each in found.modules] == ranked == given[-2:]
        assert "alike" in found.answer


def test_a_damaged_module_is_named_before_any_is_tried(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = two / "mnli" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    told: list[str] = []
    with pytest.raises(UserError, match=r"mnli/adapter\.safetensors is damaged"):
        recommend("xnli", modules=["squad", "mnli"], data="sample", on_step=told.append, **QUICK)
    assert told == []


def test_none_is_no_module(two: Path) -> None:
    with pytest.raises(UserError, match="'none' is no module: LogME says"):
        recommend("xnli", modules=["squad", "none"], data="sample", **QUICK)


def test_a_merge_has_no_texts_of_its_own(two: Path) -> None:
    names = ["squad", "average(squad, mnli)"]
    found = recommend("xnli", modules=names, data="sample", rules=["text"], **QUICK)
    assert found.silent == {
        "text of average(mnli, squad)": "made of several modules, it has no task of its own"
    }


def test_a_task_without_dev_cannot_be_probed(two: Path, tmp_path: Path) -> None:
    path = task_file(tmp_path, "a.csv", ROWS)
    path.write_text(path.read_text("utf-8").replace("dev: a.csv, ", ""), "utf-8")
    told: list[str] = []
    options: dict[str, Any] = {**QUICK, "modules": ["squad", "mnli"], "on_step": told.append}
    with pytest.raises(UserError, match="--probe scores short trainings on dev data: mine has no"):
        recommend(path, rules=["logme"], probe=True, **options)
    assert told == []
    found = recommend(path, rules=["text", "parameters"], data="sample", **options)
    assert found.silent["parameters"] == "mine has no dev data"
    assert all(set(each.scores) == {"text"} for each in found.modules)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full .* TMPDIR"),
        (MemoryError(), "out of memory in a short training: leave out --probe"),
    ],
)
def test_what_helps_a_short_training_is_not_what_helps_a_long_one(
    cause: Exception, words: str, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*asked: Any, **options: Any) -> None:
        raise FailureError("run again with --resume") from cause

    monkeypatch.setattr("adapter_stilts.training.target.train_target", fail)
    with pytest.raises(FailureError, match=words) as caught:
        recommend("xnli", modules=["squad", "mnli"], data="sample", rules=["parameters"], **QUICK)
    assert "resume" not in str(caught.value)
