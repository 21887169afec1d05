"""Parts of a module card: what may be done with it, where it works, how to make it again."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from adapter_stilts.backbones import EMBEDDED
from adapter_stilts.engine.native import is_halved
from adapter_stilts.heads import KINDS, get_head
from adapter_stilts.tasks.registry import target_tasks
from adapter_stilts.zoo.record import ModuleRecord


def pipeline(kind: str) -> str:
    """The Hub's name of a kind of head; of what has none, that of features."""
    return get_head(kind).pipeline if kind in KINDS else "feature-extraction"


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


_MARKUP = str.maketrans({"<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "'"})


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


def licence_metadata(licence: str) -> dict[str, str]:
    """The Hub's fields for a licence; what has no name there is `other`."""
    known = _LICENCES.get(licence)
    if known:
        return {"license": known}
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": slug[:90].strip("-") or "unknown"}


def licence_text(licence: str) -> str:
    """What the licence of the data means for the weights."""
    meaning = next(text for mark, text in _MEANINGS if mark in licence)
    return (
        f"Data licence: {licence}. {meaning} Whether a licence of data binds weights trained on "
        "it differs by\ncountry; respect it when you share them. The backbone has a licence of "
        "its own."
    )


def languages(record: ModuleRecord) -> list[str]:
    """The Hub's codes: what it was trained in, and that it is for many."""
    own = str(record.data.get("language") or "en")
    return ["multilingual", own] if re.fullmatch("[a-z]{2,3}", own) else ["multilingual"]


def base_metadata(model: str) -> dict[str, str]:
    """The backbone, if it is on the Hub."""
    if "/" not in model or Path(model).exists():
        return {}
    return {"base_model": model, "base_model_relation": "adapter"}


def tags(record: ModuleRecord, *, peft: bool) -> list[str]:
    """What it is searched by on the Hub: task and method among them."""
    found = ["adapters", "adapter-stilts", record.backbone.get("model_type", ""), record.method]
    found += ["peft", "lora"] if peft else []
    # The Hub has no such model: its own tag stands where others have their base model.
    found += list(record.heads)
    found += [f"backbone-{EMBEDDED}"] if record.backbone.get("name") == EMBEDDED else []
    return list(dict.fromkeys(each for each in (*found, record.task, record.name) if each))


def languages_text(record: ModuleRecord) -> str:
    """Scores of every language in which the module was evaluated."""
    parts = []
    for task, scores in record.evaluations.items():
        metrics = list(dict.fromkeys(name for each in scores.values() for name in each))
        rows = [
            " | ".join([language, *(f"{each[m]:.2f}" if m in each else "" for m in metrics)])
            for language, each in scores.items()
        ]
        table = "\n".join(f"| {row} |" for row in rows)
        parts.append(
            f"## Scores on {task}, zero-shot\n\n| language | {' | '.join(metrics)} |\n"
            f"|{'---|' * (1 + len(metrics))}\n{table}\n\n"
        )
    return "".join(parts)


def evaluation_results(record: ModuleRecord) -> list[dict[str, Any]]:
    """The same scores as the Hub has them."""
    found = []
    for name, scores in record.evaluations.items():
        target = target_tasks().get(name)
        ids = [source.hub.id for source in target.sources if source.hub] if target else []
        for language, metrics in scores.items():
            dataset = {
                "name": f"{target.title if target else name} ({language})",
                "type": ids[0] if ids else name,
                "config": language,
                "split": "test",
            }
            values = [{"type": key, "value": round(each, 2)} for key, each in metrics.items()]
            if values:
                task = {"type": pipeline(target.head if target else record.head)}
                found.append({"task": task, "dataset": dataset, "metrics": values})
    return found


def size_text(folder: Path) -> str:
    """How much of a disk the weights take."""
    weights = [path for path in folder.rglob("*.safetensors") if path.is_file()]
    total = sum(path.stat().st_size for path in weights)
    half = ", in half precision" if is_halved(weights) else ""
    return f", {total / 1e6:.1f} MB on disk{half}" if total else ""


def source_text(part: dict[str, Any]) -> str:
    """Where examples come from; a folder of this machine says nothing to others."""
    origin = str(part.get("origin", "unknown"))
    if origin in ("hub", "sample", "unknown"):
        return origin
    names = [str(each["name"]) for each in part.get("parts", ()) if "name" in each]
    return f"official files of {', '.join(names)}" if names else "official files"


def steps_text(record: ModuleRecord) -> str:
    """How long it was trained, and whether that was shorter than planned."""
    early = f" of {record.planned_steps:,} planned (stopped early)" if record.stopped_early else ""
    return f"{record.steps:,} steps{early}"
