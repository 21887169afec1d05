"""The layer is chosen by dev data or by a rule, recorded, and not chosen again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter_stilts.backbones import EMBEDDED
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.layers import Choosing, LayerChoice, Sweep, sweep_layers
from adapter_stilts.evaluation.options import default_layer, layer_rule
from adapter_stilts.evaluation.retrieval import evaluate_retrieval
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.tasks.spec import TargetSpec
from adapter_stilts.zoo.local import Composed
from made_modules import make_record
from retrieval_kit import NONE, composed, sentence, write_bucc, write_tatoeba

pytestmark = pytest.mark.usefixtures("cache")
BUCC, TATOEBA, LAREQA = (get_target(name) for name in ("bucc2018", "tatoeba", "lareqa"))


def sweep(
    engine: Engine,
    what: Composed,
    target: TargetSpec,
    languages: list[str],
    where: str,
    *,
    on: TargetSpec | None = None,
    pooling: str = "mean",
    **options: Any,
) -> LayerChoice:
    """The layer for one composition, by the rule for it alone."""
    rule = layer_rule([what.record], engine.backbone.name)
    how = Choosing(target, where, rule, pooling, on)
    return sweep_layers(engine, what, how, languages, **options)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """BUCC's dev sets of two languages; test sets that cannot be read; Tatoeba."""
    for language, tail in (("zh", "so"), ("de", "garden then")):
        sources = {f"{language}-{n}": f"{sentence(n)} {tail}" for n in range(30)}
        targets = {f"en-{n}": sentence(n + 40 * (n % 2)) for n in range(30)}
        gold = [(f"{language}-{n}", f"en-{n}") for n in range(0, 30, 2)]
        write_bucc(tmp_path, language, "dev", sources, targets, gold)
        (tmp_path / "bucc2018" / f"{language}-en.test.en").write_text("\n\x00\n")
    write_tatoeba(tmp_path, "deu", [(sentence(n), f"{sentence(n)} so") for n in range(20)])
    return str(tmp_path)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_every_layer_is_scored_as_evaluation_on_dev_would(
    engine: Engine, data: str, pooling: str
) -> None:
    choice = sweep(engine, NONE, BUCC, ["zh", "de"], data, pooling=pooling)
    assert choice.pooling == pooling and set(choice.scores) == {pooling}
    scores = choice.scores[pooling]
    assert len(scores) == engine.layers + 1
    for layer, score in enumerate(scores):
        found = dict(
            evaluate_retrieval(
                engine, NONE, BUCC, ["zh", "de"], "dev", data, layer=layer, pooling=pooling
            )
        )
        mean = np.mean([found[language].scores["f1"] for language in ("zh", "de")])
        assert score == pytest.approx(mean, abs=3)  # other batches: the last bits differ
    assert scores[choice.layer] == max(scores)
    assert choice.rule == "best on the dev data of bucc2018 in zh, de"
    assert len(choice.data) == 6


def test_of_equal_layers_the_lowest(
    engine: Engine, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sweep, "_score", lambda *_: 50.0)
    assert sweep(engine, NONE, BUCC, ["zh"], data).layer == 0


def test_the_choice_is_recorded_and_stays(
    engine: Engine, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    folder = tmp_path / "predictions" / "bucc2018"
    choice = sweep(engine, NONE, BUCC, ["zh"], data, folder=folder)
    assert not [path for path in cache.iterdir() if path.name.startswith(".sweep")]
    fields = json.loads((folder / "layer.json").read_text())
    assert fields["layer"] == choice.layer and fields["composition"] == "none"
    assert fields["scores"]["mean"] == choice.scores["mean"]

    def again(*_: Any) -> Any:
        raise AssertionError("swept again")

    monkeypatch.setattr(Sweep, "choose", again)
    assert sweep(engine, NONE, BUCC, ["zh", "de"], data, folder=folder) == choice
    with pytest.raises(AssertionError, match="swept again"):
        sweep(engine, NONE, BUCC, ["zh"], data)


def test_anothers_choice_is_not_taken(engine: Engine, data: str, tmp_path: Path) -> None:
    sweep(engine, NONE, BUCC, ["zh"], data, folder=tmp_path / "p")
    other = composed(engine, "m")
    with pytest.raises(UserError, match=r"layer chosen for 'none' on bucc2018: choose another"):
        sweep(engine, other, BUCC, ["zh"], data, folder=tmp_path / "p")
    with pytest.raises(UserError, match=r"layer chosen for 'none' on bucc2018: choose another"):
        sweep(engine, NONE, TATOEBA, ["de"], data, folder=tmp_path / "p")
    sweep(engine, other, BUCC, ["zh"], data, folder=tmp_path / "p", overwrite=True)
    assert json.loads((tmp_path / "p" / "layer.json").read_text())["composition"] == "m"


WRONG = {"composition": "m", "target": "t", "identity": "i", "backbone": "b", "layer": "x",
         "pooling": "mean", "rule": "asked for", "scores": {}, "data": []}  # fmt: skip


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"layer": 3}', "\x00", json.dumps(WRONG)])
def test_a_damaged_record(engine: Engine, data: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "layer.json").write_text(text)
    with pytest.raises(UserError, match=r"layer\.json is damaged: remove it"):
        sweep(engine, NONE, BUCC, ["zh"], data, folder=tmp_path)


def test_tatoeba_has_no_dev_data_so_a_rule_or_another_task_decides(
    engine: Engine, data: str
) -> None:
    ruled = sweep(engine, NONE, TATOEBA, ["de"], data)
    assert ruled == LayerChoice(2, "mean", "XTREME's middle layer, 14 of 24", {}, [])
    swept = sweep(engine, NONE, TATOEBA, ["de"], data, on=BUCC)
    assert swept.scores == sweep(engine, NONE, BUCC, ["de", "zh"], data).scores
    assert swept.rule == "best on the dev data of bucc2018 in de, zh"
    with pytest.raises(UserError, match="lareqa has no translations as dev data"):
        sweep(engine, NONE, TATOEBA, ["de"], data, on=LAREQA)
    with pytest.raises(UserError, match="bucc2018: no dev data to choose a layer on"):
        sweep(engine, NONE, BUCC, ["fr"], data)


def test_the_rule(engine: Engine, tmp_path: Path) -> None:
    """XLM-R Large's layer 14 of 24, scaled; the last one of what was trained for its vectors."""
    assert layer_rule([None], engine.backbone.name) == "middle"
    assert default_layer(engine.layers, "middle") == 2  # 1.75 of 3
    module = composed(engine, "m")
    dual = make_record(engine, "m", "bottleneck", "embedding")
    assert layer_rule([dual, dual], engine.backbone.name) == "last"
    span = make_record(engine, "m", "bottleneck", "span")
    assert layer_rule([dual, span], engine.backbone.name) == "middle"
    chosen = sweep(engine, dataclasses.replace(module, record=dual), LAREQA, ["en"], str(tmp_path))
    assert (chosen.layer, chosen.rule) == (3, "the last layer, as trained for")


def test_the_rule_of_larger_backbones(engine: Engine) -> None:
    layers = {24: 14, 12: 7, 6: 4}
    for count, expected in layers.items():
        assert round(count * 14 / 24) == expected
    assert layer_rule([None], EMBEDDED) == "last" and default_layer(12, "last") == 12
    composed(engine, "m")
    span = make_record(engine, "m", "bottleneck", "span")
    assert layer_rule([None, span], EMBEDDED) == "middle"  # compared at one layer
