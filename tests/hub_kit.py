"""What tests of the Hub share."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def pull_there(url: str, cache: Path, written: Path) -> None:
    """Pulls `REPO` in a process of its own, and writes where it lies."""
    from adapter_stilts import pull

    connect(pytest.MonkeyPatch(), url, cache)
    written.write_text(str(pull(REPO).path), "utf-8")


def push_there(url: str, cache: Path, token: str, module: Path, backbone: str, said: Path) -> None:
    """Pushes a module to `REPO` in a process of its own, and writes the commit or why not."""
    from adapter_stilts import push
    from adapter_stilts.errors import FailureError, UserError

    connect(pytest.MonkeyPatch(), url, cache, token)
    try:
        said.write_text(push(module, REPO, backbone=backbone).commit, "utf-8")
    except (UserError, FailureError) as error:
        said.write_text(f"{type(error).__name__} {error}", "utf-8")
