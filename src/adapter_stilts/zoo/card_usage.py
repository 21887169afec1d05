"""What a card says of how to load its module: with this package and with others."""

from __future__ import annotations

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.methods import is_fusion
from adapter_stilts.heads import PLAIN, get_head
from adapter_stilts.zoo.record import ModuleRecord


def choice(record: ModuleRecord) -> str:
    """How `load` is told which of several heads is wanted."""
    return f', task="{next(iter(record.heads))}"' if record.heads else ""


def other_ways(record: ModuleRecord, *, peft: bool, native: bool) -> str:
    """How to load it by other means than its folder and this package."""
    if is_fusion(record.method):
        return _fusion_text(record, native=native)
    return plain_text(record) + (peft_text(record) if peft and not record.bases else "")


def _fusion_text(record: ModuleRecord, *, native: bool) -> str:
    """What else loads a fusion: its composition, and for some plain `adapters`."""
    text = f"""or, with it and its modules in the zoo, by what it fuses:

```python
module = load("{record.composition}")
```

"""
    if not native:
        return f"{text}Plain `adapters` has no such fusion: it takes adapter-stilts.\n"
    sources = "\n".join(
        f'model.load_adapter("PATH_OF_{name.upper()}", load_as="{name}", with_head=False, '
        "use_safetensors=True)"
        for name in record.bases
    )
    return f"""{text}With plain `adapters`:

```python
from adapters import AutoAdapterModel

model = AutoAdapterModel.from_pretrained({_place(record)})
{sources}
model.load_adapter_fusion("PATH_OF_THIS_FOLDER", set_active=True, use_safetensors=True)
```
"""


def plain_text(record: ModuleRecord) -> str:
    """How to use it without this package; the library cannot stack LoRAs, nor fuse as we do."""
    if record.bases:
        return ""
    return f"""With plain `adapters`:

```python
from adapters import AutoAdapterModel

model = AutoAdapterModel.from_pretrained({_place(record)})
model.load_adapter("PATH_OF_THIS_FOLDER", set_active=True, use_safetensors=True)
{_plain_head(record)}```
"""


def _plain_head(record: ModuleRecord) -> str:
    """A module of several tasks has its heads in folders of their own."""
    if not record.heads:
        return ""
    place = f"PATH_OF_THIS_FOLDER/heads/{next(iter(record.heads))}"
    return f'model.load_head("{place}", use_safetensors=True)\n'


def _place(record: ModuleRecord) -> str:
    """The backbone as the libraries' `from_pretrained` takes it."""
    name = record.backbone["name"]
    if name == EMBEDDED:
        # adapter-stilts made that folder: `find_backbone("embedded").path`.
        return '"FOLDER_OF_THE_EMBEDDED_BACKBONE"'
    revision = record.backbone.get("revision")
    return f'"{hub_id(name)}"' + (f', revision="{revision}"' if revision else "")


def peft_text(record: ModuleRecord) -> str:
    """How to use a LoRA with plain `peft`."""
    # Of several heads that format has none: it is the module for the plain trunk.
    head = get_head(record.head if record.has_head else PLAIN)
    auto, labels = head.auto_class, head.library_options(int(record.data.get("labels") or 0))
    return f"""
With plain `peft`:

```python
from peft import PeftModel
from transformers import {auto}

base = {auto}.from_pretrained({_place(record)}{labels})
model = PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER/peft")
```
"""
