"""Loads what its standard input asks for from the Hub, in a process of its own.

`huggingface_hub` reads its environment when it is imported, so a test cannot change it. Each
case changes the MNLI task's Hub data; each answer is what the user would see.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from adapter_stilts.data import data_status, load_examples
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.tasks.registry import get_task
from adapter_stilts.tasks.spec import HubData, TaskSpec


def task_of(case: dict[str, Any]) -> TaskSpec:
    """The MNLI task, with its data at another place of the Hub."""
    task = get_task("mnli")
    splits = (case["split"],)
    hub = HubData(case["id"], case["revision"], {"train": splits, "dev": splits})
    source = dataclasses.replace(task.sources[0], name="tiny", hub=hub)
    return dataclasses.replace(task, sources=(source,))


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """The examples, or the complaint."""
    task = task_of(case)
    try:
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


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
