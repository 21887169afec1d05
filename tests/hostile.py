"""Backbones that try to run code when they are read, by what they are called here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

MARK = "THIS CODE MUST NOT RUN"

_CODE = f"""
from transformers import PretrainedConfig, PreTrainedTokenizerFast

print("{MARK}", flush=True)


class Marker(PretrainedConfig):
    model_type = "anything"


class Tokens(PreTrainedTokenizerFast):
    pass
"""


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _lightglue(folder: Path) -> None:
    """CVE-2026-5241: a nested configuration is loaded with the file's own trust."""
    named = folder / "named"
    named.mkdir()
    (named / "marker.py").write_text(_CODE)
    about = {"model_type": "anything", "auto_map": {"AutoConfig": "marker.Marker"}}
    (named / "config.json").write_text(json.dumps(about))
    nested = {"model_type": "anything", "_name_or_path": str(named)}
    hostile = {"model_type": "lightglue", "trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps({**hostile, "keypoint_detector_config": nested}))


def _kernel(folder: Path) -> None:
    """CVE-2026-4372: a repository of kernels is imported where `kernels` is installed."""
    _edit(folder / "config.json", _attn_implementation_internal="someone/kernel")


def _map(folder: Path) -> None:
    (folder / "marker.py").write_text(_CODE)
    _edit(folder / "config.json", auto_map={"AutoConfig": "marker.Marker"})


def _nested(folder: Path) -> None:
    inner = {"deep": [{"text_config": {"trust_remote_code": True}}]}
    _edit(folder / "config.json", sub_configs=inner)


def _tokenizer_map(folder: Path) -> None:
    (folder / "marker.py").write_text(_CODE)
    _edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "marker.Tokens"]})


def _tokenizer_class(folder: Path) -> None:
    _edit(folder / "tokenizer_config.json", tokenizer_class="EsmTokenizer")


KINDS: Mapping[str, tuple[Callable[[Path], None], str]] = MappingProxyType(
    {
        "lightglue": (_lightglue, "trust_remote_code"),
        "kernel": (_kernel, "_attn_implementation_internal"),
        "auto_map": (_map, "auto_map"),
        "nested": (_nested, "trust_remote_code"),
        "tokenizer-map": (_tokenizer_map, "auto_map"),
        "tokenizer-class": (_tokenizer_class, "tokenizer_class"),
    }
)
"""How a good backbone is spoilt, and the field that is refused."""


def spoil(good: Path, folder: Path, kind: str) -> Path:
    """A copy of a good backbone, spoilt in that way."""
    shutil.copytree(good, folder)
    KINDS[kind][0](folder)
    return folder
