"""The model card: written from the record, so that it says what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapter_stilts.backbones import hub_id
from adapter_stilts.engine.fusion_files import NATIVE_WEIGHTS
from adapter_stilts.engine.methods import get_method, is_fusion
from adapter_stilts.heads import PLAIN
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.card_command import reproduce_text
from adapter_stilts.zoo.card_parts import (
    base_metadata,
    escaped,
    evaluation_results,
    languages,
    languages_text,
    licence_metadata,
    licence_text,
    pipeline,
    size_text,
    source_text,
    steps_text,
    tags,
)
from adapter_stilts.zoo.card_usage import choice, other_ways, peft_text, plain_text
from adapter_stilts.zoo.chance import chance_text
from adapter_stilts.zoo.language_card import language_metadata, language_text
from adapter_stilts.zoo.merged_card import merged_text
from adapter_stilts.zoo.record import ModuleRecord
from adapter_stilts.zoo.substitute_data import licence_of, tasks_of


def write_card(record: ModuleRecord, folder: Path, *, peft: bool, repo: str = "") -> None:
    """Writes README.md with the Hub's metadata block; `repo` is where it will lie on the Hub."""
    record = escaped(record)
    if record.language:
        fields = {**_library(record, peft=peft), **language_metadata(record)}
        text = language_text(record, folder, other_ways(record, peft=peft, native=False))
    elif record.merged:
        fields = {**_library(record, peft=peft), **licence_metadata(licence_of(record))}
        text = merged_text(record, plain_text(record) + (peft_text(record) if peft else ""))
    else:
        native = (folder / NATIVE_WEIGHTS).is_file()
        fields = _metadata(record, peft=peft)
        text = _text(record, folder, peft=peft, native=native)
    header = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    text = f"---\n{header}---\n\n{text}"
    if repo:
        text = text.replace('PATH_OF_THIS_FOLDER/peft"', f'{repo}", subfolder="peft"')
        text = text.replace("PATH_OF_THIS_FOLDER", repo)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _of_one_task(record: ModuleRecord) -> list[ModuleRecord]:
    """The record, or if it is of several tasks, the part of each."""
    return [record.at(task) for task in record.heads] or [record]


def _library(record: ModuleRecord, *, peft: bool) -> dict[str, Any]:
    """What the Hub reads of any module."""
    model = hub_id(record.backbone["name"])
    single = {} if record.heads else {"pipeline_tag": pipeline(record.head)}
    return {
        "language": languages(record),
        "library_name": "adapters",
        **base_metadata(model),
        "tags": [*tags(record, peft=peft), *(["merge"] if record.merged else [])],
        **single,
    }


def _metadata(record: ModuleRecord, *, peft: bool) -> dict[str, Any]:
    hub_ids = list(dict.fromkeys(name for task in tasks_of(record) for name in _hub_ids(task)))
    results = [_result(each) for each in _of_one_task(record)]
    results += evaluation_results(record)
    return {
        **_library(record, peft=peft),
        **licence_metadata(licence_of(record)),
        **({"datasets": hub_ids} if hub_ids else {}),
        "model-index": [{"name": record.name, "results": results}],
    }


def _hub_ids(task: TaskSpec) -> list[str]:
    return [source.hub.id for source in task.sources if source.hub]


def _result(record: ModuleRecord) -> dict[str, Any]:
    """The score of one task, as the Hub has it."""
    (task,) = tasks_of(record)
    metric, value = next(iter(record.scores.items()))
    return {
        "task": {"type": pipeline(record.head)},
        "dataset": {"name": task.title, "type": next(iter(_hub_ids(task)), task.name)},
        "metrics": [{"type": metric, "value": round(value, 2)}],
    }


def _text(record: ModuleRecord, folder: Path, *, peft: bool, native: bool) -> str:
    tasks = tasks_of(record)
    scores = "\n".join(f"| {key} | {value:.2f} |" for key, value in record.scores.items())
    train, dev = record.data["train"], record.data["dev"]
    shown = {key: value for key, value in record.recipe.items() if value not in ((), [], None)}
    recipe = "\n".join(f"| {key} | {value} |" for key, value in shown.items())
    return f"""# {record.name}

A {record.method} module ({get_method(record.method).summary}) trained on {_titles(tasks)} over the
frozen backbone `{record.backbone["name"]}` with adapter-stilts. {record.parameters:,} parameters,
{_head_text(record)}; the backbone is unchanged.
{_bases_text(record)}
## Use

```python
from adapter_stilts import load

module = load("PATH_OF_THIS_FOLDER"{choice(record)})
```

{other_ways(record, peft=peft, native=native)}
## Scores on {dev["examples"]:,} dev examples (source: {source_text(dev)})

| metric | value |
|---|---|
{scores}
{_full_precision_text(record)}{chance_text(record)}
{languages_text(record)}## Training

{train["examples"]:,} examples (source: {source_text(train)}), {steps_text(record)}, the best one
({record.best_step:,}) kept; {record.seconds:,.0f} seconds on {record.machine}; peak memory
{record.peak_memory_mb:,.0f} MB.
{_curve_text(record)}
| setting | value |
|---|---|
{recipe}

{reproduce_text(record)}## Size

{record.parameters:,} trained parameters{size_text(folder)}; the backbone is not among them.

## Licence

{licence_text(licence_of(record))}

{_citations(tasks)}
"""


def _curve_text(record: ModuleRecord) -> str:
    """How the dev score rose; a training that still rose at its end could have gone on."""
    if len(record.learning_curve) < 2:
        return ""
    points = [
        f"{value:.1f} at step {point['step']:,.0f}"
        for point in record.learning_curve
        for name, value in point.items()
        if name != "step" and "step" in point
    ]
    return f"\nOn dev: {', '.join(points)}.\n"


def _full_precision_text(record: ModuleRecord) -> str:
    """What storing it in half precision changed."""
    if not record.full_precision:
        return ""
    before = ", ".join(f"{key} {value:.2f}" for key, value in record.full_precision.items())
    return f"\nThe weights are stored in half precision; before: {before}.\n"


def _titles(tasks: list[TaskSpec]) -> str:
    return "; ".join(task.title for task in tasks)


def _citations(tasks: list[TaskSpec]) -> str:
    return "\n\n".join(dict.fromkeys(task.citation for task in tasks))


def _bases_text(record: ModuleRecord) -> str:
    """What it stands on: without these modules it is of no use."""
    if not record.bases:
        return ""
    named = ", ".join(f"`{name}` (run {base['run']})" for name, base in record.bases.items())
    if is_fusion(record.method):
        kind = record.method.removeprefix("fusion-")
        return (
            f"\nIt is a {kind} fusion, `{record.composition}`: it weighs what its sources add, and "
            f"needs {named} beside it.\n"
        )
    return f"\nIt works as the top of `{record.composition}` and needs {named} beside it.\n"


def _head_text(record: ModuleRecord) -> str:
    if record.heads:
        return f"with a head for each of {len(record.heads)} tasks ({', '.join(record.heads)})"
    if record.head != PLAIN:
        return "head included"
    return (
        "no head: a text's vector is the mean of the last layer's hidden states over all its\n"
        "tokens, special ones included"
    )
