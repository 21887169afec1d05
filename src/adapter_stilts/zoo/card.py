"""The model card: written from the record, so that it says what happened."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.methods import get_method, is_fusion, is_invertible
from adapter_stilts.engine.native import NATIVE_WEIGHTS, is_halved
from adapter_stilts.errors import UserError
from adapter_stilts.heads import KINDS, PLAIN, get_head
from adapter_stilts.merging.methods import MERGES
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec
from adapter_stilts.zoo.choice import ModuleReference
from adapter_stilts.zoo.find import size
from adapter_stilts.zoo.provenance import (
    RECIPE,
    at_chance,
    chance_note,
    command_text,
    licence_of,
    own_files,
    tasks_of,
)
from adapter_stilts.zoo.record import NO_HEAD, RECORD, ModuleRecord

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
        "own_files": own_files(record),
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
    return f"files of {', '.join(names)}" if names else "files"


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
_TEMPLATES.filters.update(source=_source, paragraph=_paragraph, number="{:,.0f}".format, size=size)


def zoo_readme(folder: Path) -> str:
    """What is in a folder of modules, a table for every backbone; refuses one without any."""
    found = [
        ModuleReference(path.parent, escaped(ModuleRecord.read(path.parent)), "shared")
        for path in sorted(folder.glob(f"*/*/{RECORD}"))
    ]
    if not found:
        raise UserError(f"no modules in {folder}: they lie in {folder}/BACKBONE/NAME")
    backbones: dict[str, list[ModuleReference]] = {}
    for module in sorted(found, key=_order):
        backbones.setdefault(module.record.backbone["name"], []).append(module)
    return _TEMPLATES.get_template("zoo.md.jinja").render(
        folder=folder,
        backbones=backbones,
        recipe_file=RECIPE,
        title=_title,
        licence_of=licence_of,
        chance_note=chance_note,
        is_halved=is_halved,
        command_text=command_text,
    )


def _title(record: ModuleRecord) -> str:
    """What a module does, in a table."""
    if record.heads:
        return f"{len(record.heads)} tasks"
    if record.language:
        return f"raw text ({record.language})"
    return tasks_of(record)[0].title if record.task else f"none: {record.merged['expression']}"


def _order(module: ModuleReference) -> tuple[str, bool, bool, str, str]:
    """By backbone; modules of one task by method, then those of several, then fusions."""
    record, folder = module.record, module.folder
    kind = is_fusion(record.method), bool(record.heads), record.method
    return (folder.parent.name, *kind, folder.name)


_LICENCES = {
    "Apache-2.0": "apache-2.0",
    "BSD-2": "bsd-2-clause",
    "CC BY 2.0 FR": "cc-by-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-NC 4.0": "cc-by-nc-4.0",
    "CC BY-SA 3.0": "cc-by-sa-3.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "MIT": "mit",
}
"""The Hub's names of the licences that the tasks name."""


class _Score(EvalResult):
    """A score of one task, which stays apart from other tasks' scores on the same data set."""

    @property
    def unique_identifier(self) -> tuple[Any, ...]:
        """What scores of one entry of the metadata have in common: the task's title as well."""
        return (*super().unique_identifier, self.dataset_name)


def card_data(record: ModuleRecord, *, peft: bool) -> ModelCardData:
    """The metadata of a module's card; `peft`: whether it has the module in that format, too."""
    trained = not (record.language or record.merged)
    licence = {"license": "unknown"} if record.language else licence_metadata(licence_of(record))
    model = hub_id(record.backbone["name"])
    on_hub = "/" in model and not Path(model).exists()
    scores = list(_scores(record))
    return ModelCardData(
        language=_languages(record),
        library_name="adapters",
        base_model=model if on_hub else None,
        base_model_relation="adapter" if on_hub else None,
        tags=_tags(record, peft=peft),
        pipeline_tag=None if record.heads else _pipeline(record.head),
        license=licence["license"],
        license_name=licence.get("license_name"),
        datasets=(_datasets(*tasks_of(record)) if trained else None) or None,
        model_name=record.name if scores else None,
        eval_results=scores or None,
    )


def licence_metadata(licence: str) -> dict[str, str]:
    """The Hub's fields for a licence; what has no name there is `other`."""
    known = _LICENCES.get(licence)
    if known:
        return {"license": known}
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": slug[:90].strip("-") or "unknown"}


def _pipeline(kind: str) -> str:
    """The Hub's name of a kind of head; of what has none, that of features."""
    return get_head(kind).pipeline if kind in KINDS else "feature-extraction"


def _languages(record: ModuleRecord) -> list[str]:
    """The Hub's codes: what it was trained in, and that it is for many."""
    own = str(record.data.get("language") or "en")
    return ["multilingual", own] if re.fullmatch("[a-z]{2,3}", own) else ["multilingual"]


OUR_TAG = "adapter-stilts"
EMBEDDED_TAG = f"backbone-{EMBEDDED}"
"""In place of a base model, for the backbone that is not on the Hub as it is."""


def _tags(record: ModuleRecord, *, peft: bool) -> list[str]:
    """What it is searched by on the Hub: task and method among them."""
    found = ["adapters", OUR_TAG, record.backbone.get("model_type", ""), record.method]
    found += ["peft", "lora"] if peft else []
    found += list(record.heads)
    found += [EMBEDDED_TAG] if record.backbone.get("name") == EMBEDDED else []
    found += [record.task, record.name, "merge" if record.merged else ""]
    return [tag for tag in found if tag]


def _datasets(*tasks: TaskSpec | TargetSpec) -> list[str]:
    """The data sets of tasks on the Hub, each once."""
    ids = [source.hub.id for task in tasks for source in task.sources if source.hub]
    return list(dict.fromkeys(ids))


def _scores(record: ModuleRecord) -> Iterator[EvalResult]:
    """The dev score that counts, of each task; those of every target and language evaluated.

    Of masked words, all of them.
    """
    if record.language:
        text = f"raw text ({record.language})"
        for score in record.scores.items():
            yield _score("fill-mask", text, "text", score)
    elif not record.merged:
        for each in record.singles:
            (task,) = tasks_of(each)
            score = next(iter(each.scores.items()))
            data_set = next(iter(_datasets(task)), task.name)
            yield _score(_pipeline(each.head), task.title, data_set, score)
    for name, scores in record.evaluations.items():
        target = target_tasks().get(name)
        kind = _pipeline(target.head if target else record.head)
        data_set = next(iter(_datasets(target) if target else ()), name)
        for language, metrics in scores.items():
            title = f"{target.title if target else name} ({language})"
            for score in metrics.items():
                of = {"dataset_config": language, "dataset_split": "test"}
                yield _score(kind, title, data_set, score, **of)


def _score(kind: str, title: str, data_set: str, score: tuple[str, float], **of: Any) -> EvalResult:
    return _Score(
        task_type=kind,
        dataset_name=title,
        dataset_type=data_set,
        metric_type=score[0],
        metric_value=round(float(score[1]), 2),
        **of,
    )
