"""What a stranger's record says is text in its card, whatever it looks like."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import UserError
from adapter_stilts.zoo.card import write_card
from adapter_stilts.zoo.push import stage
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from made_modules import make_record

HOSTILE = (
    "a|b",
    "`x`",
    "```",
    "<script>alert(1)</script>",
    "<!-- x",
    "![x](http://a.example/b.png)",
    "[x](http://a.example)",
    "---",
    "# heading",
    "- item",
    "a\n\n---\n\n# b: c",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# c #}",
    "{{ record.__class__.__mro__ }}",
    "{0.__class__} %s %(x)s",
    "PATH_OF_THIS_FOLDER",
    "key: value",
    "@a",
    "null",
    "'\"",
)
SHAPE = (
    "image",
    "link_open",
    "heading_open",
    "html_block",
    "html_inline",
    "hr",
    "fence",
    "tr_open",
    "td_open",
    "list_",
)


def write(record: ModuleRecord, folder: Path, repo: str = "") -> str:
    write_card(record, folder, peft=True, repo=repo)
    return (folder / "README.md").read_text("utf-8")


def shape(text: str) -> list[str]:
    """The parts of the page that a text of a record must not add to."""
    found = MarkdownIt("commonmark").enable("table").parse(text.split("\n---\n", 1)[1])
    inner = [each for token in found for each in (token, *(token.children or ()))]
    return [token.type for token in inner if token.type.startswith(SHAPE)]


def records(engine: Engine, text: str) -> dict[str, ModuleRecord]:
    """A module, a language's and a merged one that say that text wherever they can."""
    spec: dict[str, Any] = {
        **dict.fromkeys(("title", "licence", "citation", "identity"), text),
        "metric": "accuracy",
        "labels": [],
        "choices": 0,
        "max_length": 64,
        "unanswerable": False,
        "language": "en",
        "evaluated": [],
        "datasets": {text: text},
    }
    part = {"origin": text, "examples": 24, "parts": [{"name": text}]}
    module = make_record(
        engine,
        "mnli-lora",
        "lora",
        "classification",
        task=text,
        spec=spec,
        machine=text,
        scores={text: 3.0},
        full_precision={text: 3.0},
        evaluations={text: {text: {text: 1.0}}},
        data={"train": part, "dev": part, "language": text},
        recipe={"max_length": 64, "stride": 16, "method": "lora", text: [text], "x": text},
        learning_curve=[{"step": 1.0, text: 2.0}, {"step": 2.0, text: 3.0}],
    )
    merged = {
        **dict.fromkeys(("how", "expression", "density"), text),
        "weights": {text: 0.5},
        "sources": {text: {"run": text, "task": text, "licence": text}},
    }
    plain = dataclasses.replace(module, spec={}, data={"train": part, "dev": part})
    return {
        "module": module,
        "language": dataclasses.replace(plain, task="lang-sw", head=NO_HEAD),
        "merged": dataclasses.replace(plain, task="mnli", head=NO_HEAD, merged=merged),
    }


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["module", "language", "merged"])
def test_a_text_stays_a_text(
    tiny_engine: Engine, saved: Path, tmp_path: Path, kind: str, text: str
) -> None:
    expected = write(records(tiny_engine, "harmless")[kind], tmp_path)
    card = write(records(tiny_engine, text)[kind], tmp_path, "someone/thing")
    assert shape(card) == shape(expected)
    assert "49" not in card and "object" not in card
    if "{" in text or text == "PATH_OF_THIS_FOLDER":
        assert text in card
    header = card.split("\n---\n", 1)[0]
    known = yaml.safe_load(expected.split("\n---\n", 1)[0])
    assert set(yaml.safe_load(header)) <= {*known, "license_name"}
    data: Any = ModelCard(card).data
    assert data.to_dict() == metadata_load(tmp_path / "README.md")


def test_scores_of_two_tasks_on_one_data_set_stay_apart(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    one = make_record(tiny_engine, "mnli-lora", "lora", "classification")
    about = {**one.data, "head": "classification", "labels": [], "max_length": 64}
    about |= {"no_answer_threshold": None, "parameters": 3}
    heads = {
        "mnli": {**about, "scores": {"accuracy": 60.0}},
        "qqp": {**about, "scores": {"f1": 70.0}},
    }
    card = write(dataclasses.replace(one, heads=heads), tmp_path, "someone/both")
    # What `adapters` takes of a folder only is fetched first.
    assert 'folder = snapshot_download("someone/both")' in card
    assert 'load_head(f"{folder}/heads/mnli"' in card
    found = metadata_load(tmp_path / "README.md")
    assert found is not None
    mnli, qqp = found["model-index"][0]["results"]
    assert mnli["dataset"]["type"] == qqp["dataset"]["type"] == "nyu-mll/glue"
    assert mnli["metrics"] == [{"type": "accuracy", "value": 60.0}]
    assert qqp["metrics"] == [{"type": "f1", "value": 70.0}]
    assert "Quora" in qqp["dataset"]["name"] and "Quora" not in mnli["dataset"]["name"]


def test_a_merged_module_shows_the_scores_that_were_added(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    scores = {"tydiqa": {"ko": {"f1": 41.94}}}
    record = dataclasses.replace(records(tiny_engine, "x")["merged"], evaluations=scores)
    assert "| ko | 41.94 |" in write(record, tmp_path)
    (result,) = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert (result.dataset_config, result.metric_value) == ("ko", 41.94)


def test_what_a_record_lacks_is_never_left_out_in_silence(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    record = records(tiny_engine, "x")["merged"]
    less = {key: value for key, value in record.merged.items() if key != "expression"}
    lacking = dataclasses.replace(record, merged=less)
    with pytest.raises(UndefinedError, match="expression"):
        write(lacking, tmp_path)
    with pytest.raises(UserError, match="expression"):
        stage(lacking, saved, tmp_path)
