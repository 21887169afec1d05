"""What a training is learnt from."""

from __future__ import annotations

from adapter_stilts.data.language import read_language_text
from adapter_stilts.data.load import load_examples
from adapter_stilts.training.job import Data
from adapter_stilts.training.spec import TrainingSpec


def read_parts(
    spec: TrainingSpec,
    data: str | None,
    *,
    limit: int | None,
    dev_limit: int | None,
    seed: int,
    skip_bad: bool = False,
) -> Data:
    """The training and dev examples of every task.

    Args:
        skip_bad: leave out training rows that cannot be used.

    Raises:
        UserError: there are none, or something is wrong with them.
    """
    if spec.text:
        return [read_language_text(spec.text, limit=limit, dev_limit=dev_limit, seed=seed)]
    return [
        (
            load_examples(
                each,
                "train",
                data,
                limit=limit,
                seed=seed,
                skip_bad=skip_bad,
            ),
            load_examples(each, "dev", data, limit=dev_limit, seed=seed),
        )
        for each in spec.tasks
    ]
