"""The model card: written from the record, so that it says what happened."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.methods import get_method, is_fusion, is_invertible
from adapter_stilts.engine.native import NATIVE_WEIGHTS, is_halved
from adapter_stilts.heads import PLAIN, get_head
from adapter_stilts.merging.registry import MERGES
from adapter_stilts.zoo.card_command import command_text
from adapter_stilts.zoo.card_data import card_data
from adapter_stilts.zoo.chance import at_chance
from adapter_stilts.zoo.record import NO_HEAD, RECIPE, ModuleRecord
from adapter_stilts.zoo.substitute_data import licence_of, tasks_of

_MEANINGS = (
    ("NC", "It allows no commercial use: treat the weights as not for commercial use."),
    ("non-commercial", "Treat the weights as not for commercial use."),
    ("LDC", "It is for members and licensees only; the weights hold no text of it."),
    ("SA", "It asks that what is built on the data is shared under the same terms: so share the "
     "weights."),
    ("terms", "Read them before you share the weights."),
    ("unknown", "Ask those who made it before you share the weights."),
    ("", "It asks for credit at most: name the data where you use the weights."),
)  # fmt: skip
"""What a licence of data means for weights, by a part of its name; the first that is in it."""

_MARKUP = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "|": "&#124;", "]": "&#93;", "`": "'", "\n": " ", "\r": " "}
)


def write_card(record: ModuleRecord, folder: Path, *, peft: bool, repo: str = "") -> None:
    """Writes README.md: the Hub's metadata, and the text of a template.

    What stands in a record is only ever a value in the template, never a part of it.

    Args:
        peft: whether the folder has the module in peft's format, too.
        repo: where the module will lie on the Hub.

    Raises:
        jinja2.UndefinedError, LookupError, TypeError, ValueError, AttributeError: the record
            lacks what the card tells.
    """
    record = escaped(record)
    kind = "language" if record.language else "merged" if record.merged else "module"
    values = {**_values(record, folder), "repo": repo, "peft": peft}
    text = _TEMPLATES.get_template(f"{kind}.md.jinja").render(values)
    text = re.sub(r"\n{3,}", "\n\n", text)  # where a part is left out
    header = card_data(record, peft=peft).to_yaml()
    (folder / "README.md").write_text(f"---\n{header}\n---\n\n{text}", encoding="utf-8")


def _values(record: ModuleRecord, folder: Path) -> dict[str, Any]:
    """What the templates show beside the record itself."""
    weights = [path for path in folder.rglob("*.safetensors") if path.is_file()]
    name, method = record.backbone["name"], record.method
    licence = licence_of(record)
    return {
        "record": record,
        "tasks": [] if record.language or record.merged else tasks_of(record),
        "summary": get_method(method).summary,
        "invertible": is_invertible(method),
        "fusion": method.removeprefix("fusion-") if is_fusion(method) else "",
        "native": (folder / NATIVE_WEIGHTS).is_file(),
        # The libraries know no embedded backbone: adapter-stilts makes a folder of it.
        "backbone": hub_id(name) if name != EMBEDDED else "FOLDER_OF_THE_EMBEDDED_BACKBONE",
        "revision": record.backbone.get("revision") if name != EMBEDDED else "",
        # Of several heads peft's format has none: it is the module for the plain trunk.
        "head": get_head(record.head if record.has_head else PLAIN),
        "plain": PLAIN,
        "no_head": NO_HEAD,
        "chance": at_chance(record),
        "curve": _curve(record),
        "recipe_file": RECIPE,
        "command": command_text(record),
        "megabytes": sum(path.stat().st_size for path in weights) / 1e6,
        "halved": is_halved(weights),
        "licence": licence,
        "meaning": licence_meaning(licence),
        "merges": MERGES,
    }


def _curve(record: ModuleRecord) -> list[str]:
    """How the dev score rose; a training that still rose at its end could have gone on."""
    return [
        f"{value:.1f} at step {point['step']:,.0f}"
        for point in record.learning_curve
        for name, value in point.items()
        if name != "step" and "step" in point
    ]


def licence_meaning(licence: str) -> str:
    """What the licence of the data means for the weights."""
    return next(text for mark, text in _MEANINGS if mark in licence)


def _source(part: dict[str, Any]) -> str:
    """Where examples come from; a folder of this machine says nothing to others."""
    origin = str(part.get("origin", "unknown"))
    if origin in ("hub", "sample", "unknown"):
        return origin
    names = [str(each["name"]) for each in part.get("parts", ()) if "name" in each]
    return f"official files of {', '.join(names)}" if names else "official files"


def _paragraph(text: object) -> str:
    """A text that begins a line, where some characters begin a heading, a list or a rule."""
    return re.sub(r"^\s*(?=[-#=+*~_])", r"\\", str(text))


def escaped(record: ModuleRecord) -> ModuleRecord:
    """The record with no text in it that Markdown, or the HTML in it, would take for its own."""
    fields = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
    return dataclasses.replace(record, **{key: _plain(value) for key, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_MARKUP)
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


# Not `ModelCard.from_template`: a name that its template lacks passes in silence there.
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("card_templates")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters.update(source=_source, paragraph=_paragraph, number="{:,.0f}".format)
