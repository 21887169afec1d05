"""Loads data from the Hub in a process of its own, with a cache of its own.

Each case changes the MNLI task's Hub data; each answer is what the user would see.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
from datasets import config
from huggingface_hub import constants

from adapter_stilts.data import data_status, load_examples
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.tasks.spec import HubData, TaskSpec
from hub_kit import connect


def task_of(case: dict[str, Any]) -> TaskSpec:
    """A task file's, or the MNLI task with its data at another place of the Hub."""
    if "file" in case:
        return get_task(case["file"])
    task = get_task("mnli")
    splits = (case["split"],)
    hub = HubData(case["id"], case["revision"], {"train": splits, "dev": splits})
    source = dataclasses.replace(task.sources[0], name="tiny", hub=hub)
    return dataclasses.replace(task, sources=(source,))


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """The examples, or the complaint."""
    try:
        task = task_of(case)
        found = load_examples(task, "train", "hub")
    except (UserError, FailureError) as error:
        return {"error": str(error)}
    status = data_status(task, "hub")
    return {
        "examples": found.examples.to_list(),
        "fingerprint": found.fingerprint,
        "parts": list(found.parts),
        "found": status.found,
        "detail": status.detail,
    }


def answer_all(
    cases: list[dict[str, Any]], endpoint: str, home: Path, offline: bool, written: Path
) -> None:
    """Writes the answers that there are at an address, with what lies in the libraries' cache.

    No pause is made in earnest: they may come to 20 seconds.
    """
    pauses: list[float] = []
    pytest.MonkeyPatch().setattr(time, "sleep", pauses.append)
    connect(pytest.MonkeyPatch(), endpoint, home / "hub")
    config.HF_ENDPOINT = endpoint
    config.HUB_DATASETS_URL = endpoint + "/datasets/{repo_id}/resolve/{revision}/{path}"
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = offline
    constants.HF_HOME = str(home)
    config.HF_DATASETS_CACHE = home / "datasets"
    config.DOWNLOADED_DATASETS_PATH = home / "datasets" / "downloads"
    config.EXTRACTED_DATASETS_PATH = home / "datasets" / "downloads" / "extracted"
    answers = [answer(case) for case in cases]
    assert sum(pauses) < 20, pauses
    written.write_text(json.dumps(answers), "utf-8")
