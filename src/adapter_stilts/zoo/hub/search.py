"""Modules on the Hub, found by the tags of their cards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.hf_api import ModelInfo

from adapter_stilts.backbones import EMBEDDED, hub_id
from adapter_stilts.engine.methods import METHODS
from adapter_stilts.hub.client import Repository, call
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks

OUR_TAG = "adapter-stilts"
_BASE = "base_model:"


@dataclass(frozen=True)
class Hit:
    """A repository, as far as its tags describe it."""

    repo: str
    task: str
    method: str
    backbone: str
    licence: str
    downloads: int
    updated: str


def search(
    text: str = "",
    *,
    backbone: str = "",
    task: str = "",
    language: str = "",
    anybody: bool = False,
    limit: int = 30,
) -> list[Hit]:
    """The modules on the Hub that fit, the most downloaded first.

    Args:
        text: words in the repository's name.
        backbone: by the Hub's id, or a short name such as `xlm-roberta-large`.
        task: such as `squad`.
        language: a code, such as `sw`.
        anybody: other programs' adapters too (`adapters`), not only what was pushed from here.
        limit: so many at most.

    Raises:
        UserError: the Hub cannot be reached.
        FailureError: it failed again and again.
    """
    wanted = ["adapters" if anybody else OUR_TAG, task, language]
    if backbone == EMBEDDED:
        wanted.append(embedded_tag())
    elif backbone:
        wanted.append(f"{_BASE}{hub_id(backbone)}")
    filters = [each for each in wanted if each]
    found = call(
        Repository(text or "a search"),
        lambda: list(
            HfApi().list_models(
                filter=filters, search=text or None, sort="downloads", direction=-1, limit=limit
            )
        ),
    )
    return [_hit(model) for model in found]


def embedded_tag() -> str:
    """The tag in place of a base model, for the backbone that is not on the Hub as it is."""
    return f"backbone-{EMBEDDED}"


def _hit(model: ModelInfo) -> Hit:
    tags = [str(tag) for tag in model.tags or ()]
    bases = [tag.removeprefix(_BASE) for tag in tags if tag.startswith(_BASE)]
    plain = [base for base in bases if ":" not in base]
    embedded = EMBEDDED if embedded_tag() in tags else ""
    return Hit(
        repo=model.id,
        task=_first(tags, [*intermediate_tasks(), *target_tasks()]),
        method=_first(tags, METHODS),
        backbone=_first(plain) or embedded,
        licence=_first([t.removeprefix("license:") for t in tags if t.startswith("license:")]),
        downloads=model.downloads or 0,
        updated=model.last_modified.date().isoformat() if model.last_modified else "",
    )


def _first(tags: Iterable[str], known: Iterable[str] | None = None) -> str:
    allowed = None if known is None else set(known)
    return next((tag for tag in tags if allowed is None or tag in allowed), "")
