"""The score of a finished module on rows of the user's own."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.data.load import load_examples
from adapter_stilts.tasks.spec import TaskSpec
from adapter_stilts.zoo.load import load


def test_scores(folder: Path, task: TaskSpec, data: str | None) -> dict[str, float]:
    """The official scores of a module on the test split of its task, in percent.

    Raises:
        UserError: the rows cannot be used, or have no labels; names file and line.
    """
    examples = load_examples(task, "test", data).examples
    return load(folder).score(examples.to_list())
