"""What the card of a merged module says of how it was made."""

from __future__ import annotations

from typing import Any

from adapter_stilts.merging.registry import MERGES
from adapter_stilts.zoo.card_parts import licence_text
from adapter_stilts.zoo.record import NO_HEAD, ModuleRecord
from adapter_stilts.zoo.substitute_data import licence_of


def merged_text(record: ModuleRecord, how_to_use: str) -> str:
    """The card's text; `how_to_use` is what it says of other libraries."""
    merged = record.merged
    rows = "\n".join(
        f"| {name} | {weight:.4g} | {_source(merged, name)} |"
        for name, weight in merged["weights"].items()
    )
    options = "".join(
        f", {key} {merged[key]}" for key in ("density", "lora", "seed") if key in merged
    )
    method = MERGES.get(merged["how"])  # a plug-in's need not be here
    summary = method.summary if method else "a merge method of a plug-in"
    return f"""# {record.name}

`{merged["expression"]}`

A {record.method} module merged from others, without training, over the frozen backbone
`{record.backbone["name"]}` with adapter-stilts. {record.parameters:,} parameters,
{_head(record)}; the backbone is unchanged.

## Use

```python
from adapter_stilts import load

module = load("PATH_OF_THIS_FOLDER")
```

{how_to_use}
## Made of

{merged["how"]}{options}: {summary}.

| module | weight | task and run |
|---|---|---|
{rows}
{_search(merged.get("search"))}
## Licence

{licence_text(licence_of(record))}
"""


def _source(merged: dict[str, Any], name: str) -> str:
    source = merged["sources"].get(name)  # a merge inside the merge has no run
    return f"{source['task']} {source['run']}" if source else "merged itself"


def _head(record: ModuleRecord) -> str:
    if record.head == NO_HEAD:
        return "no head of its own: train a target on top of it, or use its sentence vectors"
    if not record.merged.get("head"):
        return "no head: a text's vector is the mean of the last layer's hidden states"
    return f"with the {record.head} head of `{record.merged['head']['name']}` for {record.task}"


def _search(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    return f"""
The weights were searched without gradients (as in LoraHub, Huang et al. 2023) on
{found["examples"]} English training examples of {found["target"]}: in {found["evaluations"]}
evaluations the loss went from {found["loss_before"]:.4f} to {found["loss_after"]:.4f}.
"""
