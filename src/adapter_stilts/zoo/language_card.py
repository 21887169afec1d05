"""What the card of a language's module says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapter_stilts.engine.methods import get_method, is_invertible
from adapter_stilts.zoo.card_command import reproduce_text
from adapter_stilts.zoo.card_parts import languages_text, size_text, steps_text
from adapter_stilts.zoo.record import ModuleRecord


def language_metadata(record: ModuleRecord) -> dict[str, Any]:
    """What the Hub reads beside what every module has."""
    result = {
        "task": {"type": "fill-mask"},
        "dataset": {"name": f"raw text ({record.language})", "type": "text"},
        "metrics": [{"type": key, "value": round(x, 2)} for key, x in record.scores.items()],
    }
    return {"license": "unknown", "model-index": [{"name": record.name, "results": [result]}]}


def language_text(record: ModuleRecord, folder: Path, how_to_use: str) -> str:
    """The card's text; `how_to_use` is what it says of other libraries."""
    train, dev = record.data["train"], record.data["dev"]
    scores = "\n".join(f"| {key} | {value:.2f} |" for key, value in record.scores.items())
    shown = {key: value for key, value in record.recipe.items() if value not in ((), [], None)}
    recipe = "\n".join(f"| {key} | {value} |" for key, value in shown.items())
    lowest = (
        " Its part at the embeddings acts\nonly there: nothing goes below it."
        if is_invertible(record.method)
        else ""
    )
    return f"""# {record.name}

A module for the language `{record.language}` ({record.method}:
{get_method(record.method).summary}),
trained by masked language modelling over the frozen backbone `{record.backbone["name"]}` with
adapter-stilts. {record.parameters:,} parameters; it has no head, and the backbone is unchanged.

## Use

It goes below modules for tasks, which need not have been trained with it.{lowest}

```python
from adapter_stilts import load

module = load("stack(PATH_OF_THIS_FOLDER, squad)")
```

{how_to_use}
## Scores on {dev["examples"]:,} held-out lines

Of the masked words (15%), told among the pieces of the vocabulary that the text has.

| metric | value |
|---|---|
{scores}

{languages_text(record)}## Training

{train["examples"]:,} lines (source: {train["origin"]}), {steps_text(record)}, the best one
({record.best_step:,}) kept; {record.seconds:,.0f} seconds on {record.machine}; peak memory
{record.peak_memory_mb:,.0f} MB.

| setting | value |
|---|---|
{recipe}

{reproduce_text(record)}## Size

{record.parameters:,} trained parameters{size_text(folder)}; the backbone is not among them.

## Licence

That of the text, which is not recorded: name it when you share the module. The backbone has a
licence of its own.
"""
