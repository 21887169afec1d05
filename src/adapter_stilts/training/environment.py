"""What a record says of the machine and the libraries."""

from __future__ import annotations

import platform
import resource
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from adapter_stilts import __version__

LIBRARIES = ("torch", "transformers", "adapters", "peft", "datasets", "evaluate", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that decide a result."""
    return {"python": platform.python_version(), "adapter-stilts": __version__, **_libraries()}


@cache
def _libraries() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}


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
