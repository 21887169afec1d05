"""What tests of the Hub share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from writable_hub import Hub

REPO = "someone/xlmr-mnli"


def files_of(folder: Path) -> dict[str, bytes]:
    """A module's files as a repository has them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def connect(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path, token: str = "") -> None:
    """Makes `huggingface_hub`, which reads its environment once, talk to that address."""
    from huggingface_hub import configure_http_backend, constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setenv("HF_TOKEN", token)
    configure_http_backend()


def call_in_process(
    hub: Hub, environment: dict[str, str], code: str, *names: str
) -> subprocess.Popen[str]:
    """Prints what the code comes to (`argv` holds the names) or the complaint, in a process."""
    code = (
        "from sys import argv\n"
        "from adapter_stilts.errors import FailureError, UserError\n"
        "from adapter_stilts import pull, push\n"
        "try:\n"
        f"    print({code})\n"
        "except (UserError, FailureError) as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *names],
        env={**environment, "HF_ENDPOINT": hub.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
