"""The model card: metadata that the Hub reads, and text that tells the truth."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from adapter_stilts.engine.engine import Engine
from adapter_stilts.heads import KINDS
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks
from adapter_stilts.zoo.card import licence_meaning, licence_metadata, write_card
from made_modules import TASKS, make_record

HUB_BACKBONE = {
    "name": "xlm-roberta-large",
    "revision": "c" * 40,
    "model_type": "xlm-roberta",
    "fingerprint": "f" * 16,
}


def card(engine: Engine, folder: Path, head: Any, *, peft: bool = True, **changes: Any) -> str:
    write_card(make_record(engine, "mnli-lora", "lora", head, **changes), folder, peft=peft)
    return (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("head", "pipeline"),
    [
        ("classification", "text-classification"),
        ("choice", "multiple-choice"),
        ("span", "question-answering"),
        ("tagging", "token-classification"),
        ("embedding", "sentence-similarity"),
    ],
)
def test_metadata(
    tiny_engine: Engine, saved: Path, tmp_path: Path, head: Any, pipeline: str
) -> None:
    card(tiny_engine, tmp_path, head, backbone=HUB_BACKBONE)
    found = metadata_load(tmp_path / "README.md")
    assert found is not None
    assert found["library_name"] == "adapters"
    assert found["base_model"] == "FacebookAI/xlm-roberta-large"
    assert found["pipeline_tag"] == pipeline
    assert found["language"] == ["multilingual", "en"]
    assert found["base_model_relation"] == "adapter"
    assert re.fullmatch(r"[a-z0-9.-]+", found["license"])
    assert (found["license"] == "other") == ("license_name" in found)
    assert {"adapters", "adapter-stilts", "xlm-roberta", "lora"} <= set(found["tags"])
    if TASKS[head] == "ccg":
        assert "datasets" not in found  # it is not on the Hub
    else:
        assert all("/" in each for each in found["datasets"])
    name, (result,) = model_index_to_eval_results(found["model-index"])
    assert name == "mnli-lora"
    assert (result.task_type, result.metric_type, result.metric_value) == (
        pipeline,
        "accuracy",
        61.23,
    )
    data = ModelCard.load(tmp_path / "README.md").data
    assert isinstance(data, ModelCardData)
    assert data.eval_results is not None


def test_text(tiny_engine: Engine, saved: Path, tmp_path: Path) -> None:
    text = card(tiny_engine, tmp_path, "classification", backbone=HUB_BACKBONE)
    assert "| accuracy | 61.23 |" in text
    assert "| f1 | 59.50 |" in text
    assert "Scores on 24 dev examples (source: sample)" in text
    place = f'"FacebookAI/xlm-roberta-large", revision="{"c" * 40}"'
    assert f"AutoAdapterModel.from_pretrained({place})" in text
    assert 'load_adapter("PATH_OF_THIS_FOLDER", set_active=True, use_safetensors=True)' in text
    assert f"AutoModelForSequenceClassification.from_pretrained({place}, num_labels=3)" in text
    assert 'PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER/peft")' in text
    assert "Data licence:" in text
    assert "trained parameters" in text


@pytest.mark.parametrize("head", KINDS)
def test_snippets_are_python(tiny_engine: Engine, saved: Path, tmp_path: Path, head: Any) -> None:
    for backbone in (HUB_BACKBONE, {**HUB_BACKBONE, "name": "embedded", "revision": ""}):
        text = card(tiny_engine, tmp_path, head, backbone=backbone)
        snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len(snippets) == 3
        for snippet in snippets:
            compile(snippet, "card", "exec")
        assert ("num_labels=" in text) == (head in ("classification", "tagging", "regression"))


SCORES = {"tydiqa": {"ko": {"f1": 41.94, "exact_match": 30.0}, "sw": {"f1": 60.4}}}


def test_scores_of_languages(tiny_engine: Engine, saved: Path, tmp_path: Path) -> None:
    text = card(tiny_engine, tmp_path, "span", evaluations=SCORES)
    assert "## Scores on tydiqa, zero-shot" in text
    assert "| ko | 41.94 | 30.00 |" in text
    assert "| sw | 60.40 |  |" in text
    data = ModelCard.load(tmp_path / "README.md").data
    found = {
        (each.dataset_config, each.metric_type): each.metric_value for each in data.eval_results
    }
    assert found["ko", "f1"] == 41.94
    assert found["sw", "f1"] == 60.4
    assert (None, "accuracy") in found  # of the dev data
    assert data.model_name == "mnli-lora"


@pytest.mark.parametrize("task", [*intermediate_tasks(), *target_tasks()])
def test_licences_have_names_on_the_hub(task: str) -> None:
    every: dict[str, Any] = {**intermediate_tasks(), **target_tasks()}
    licence = every[task].licence
    found = licence_metadata(licence)
    assert found["license"] == "other" or found["license"].count("-") < 4
    assert re.fullmatch(r"[a-z0-9.-]+", found.get("license_name", "x"))
    text = licence_meaning(licence)
    assert ("commercial use" in text) == ("NC" in licence or "non-commercial" in licence)


def test_the_command_makes_it_again(tiny_engine: Engine, saved: Path, tmp_path: Path) -> None:
    recipe = {"max_length": 64, "stride": 16, "method": "lora", "seed": 3, "leave_out": [0, 1]}
    text = card(tiny_engine, tmp_path, "span", recipe=recipe)
    command = typed(text)
    assert command[:4] == ["train-adapter", "squad", "--recipe", "recipe.yaml"]
    assert command[command.index("--seed") + 1] == "3"
    bases = {"squad": {"run": "a" * 16}, "mnli": {"run": "b" * 16}}
    above = card(
        tiny_engine, tmp_path, "span", task="tydiqa", bases=bases, composition="stack(squad, qa)"
    )
    assert typed(above)[:2] == ["train-target", "tydiqa"]
    assert "--on squad" in " ".join(typed(above))
    for arguments in (command, typed(above)):
        called(arguments)


def test_the_command_says_how_many_examples(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    parts = [{"name": "squad", "files": ["/a/b.json"], "rows_kept": 9380, "rows_left_out": 0}]
    dev = {"origin": "/a", "fingerprint": "0", "examples": 300, "parts": parts}
    train = {**dev, "examples": 9380}
    data = {"train": train, "dev": dev, "labels": 0, "language": "en"}
    recipe = {"max_length": 64, "stride": 16, "method": "lora", "seed": 0, "patience": 0}
    text = card(tiny_engine, tmp_path, "span", data=data, recipe=recipe)
    command = typed(text)
    assert command[command.index("--dev-limit") + 1] == "300"
    assert "--limit" not in command
    called(command)
    assert "source: files of squad" in text and "/a" not in text


def test_data_that_stands_in_for_the_tasks_own(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    def of(file: str) -> str:
        parts = [{"name": "ccg", "files": [f"/a/{file}"], "rows_kept": 24}]
        part = {"origin": "/a", "fingerprint": "0", "examples": 24, "parts": parts}
        return card(
            tiny_engine, tmp_path, "tagging", data={"train": part, "dev": part, "labels": 5}
        )

    text = of("pmb_en_train.jsonl")
    assert "Parallel Meaning Bank" in text and "Abzianidze" in text and "LDC" not in text
    text = of("train.jsonl")
    assert "Parallel Meaning Bank" not in text and "LDC User Agreement" in text


def typed(text: str) -> list[str]:
    """The command's arguments."""
    (line,) = re.findall(r"^adstilts (.*)$", text, re.MULTILINE)
    return shlex.split(line)


def called(arguments: list[str]) -> None:
    """The command line takes it."""
    from adapter_stilts.cli import whole_command

    context = whole_command().make_context("adstilts", list(arguments))
    command = whole_command().commands[arguments[0]]
    with context:
        command.make_context(arguments[0], list(arguments[1:]), parent=context)


def test_no_peft_snippet_without_peft(tiny_engine: Engine, saved: Path, tmp_path: Path) -> None:
    assert "PeftModel" not in card(tiny_engine, tmp_path, "span", peft=False)


def test_embedded_and_local_backbones_are_no_hub_ids(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    embedded = {**HUB_BACKBONE, "name": "embedded", "revision": ""}
    text = card(tiny_engine, tmp_path, "span", backbone=embedded)
    assert "base_model" not in text
    assert 'from_pretrained("embedded")' not in text  # neither library knows that name
    assert "base_model" not in card(tiny_engine, tmp_path, "span")  # the tiny one: a folder


def test_card_without_a_head_says_what_a_vector_is(
    tiny_engine: Engine, saved: Path, tmp_path: Path
) -> None:
    text = card(tiny_engine, tmp_path, "embedding")
    assert "no head: a text's vector is the mean of the last layer's hidden states" in text
    assert "AutoModel.from_pretrained" in text
    assert "head included" in card(tiny_engine, tmp_path, "span")
