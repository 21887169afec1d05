"""Multiple choice: every option is read after the prompt, as a pair."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any, TypedDict

from adapter_stilts.errors import shown
from adapter_stilts.heads.base import (
    UNLABELLED,
    Columns,
    Encoding,
    Example,
    Features,
    Head,
    Prediction,
    Rows,
    TargetLike,
    TaskLike,
    check_label,
    padded_length,
    template,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class ChoiceExample(TypedDict):
    """Multiple choice: every option is read after the prompt, as a pair."""

    id: str
    prompt: str
    options: list[str]
    label: int


def _pairs(
    prompts: list[str], options: list[str], tokenizer: PreTrainedTokenizerFast, max_length: int
) -> list[list[int]]:
    prompt_ids, option_ids = (
        tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        for texts in (prompts, options)
    )
    special = template(tokenizer, pair=True)
    room = max_length - special.size
    built = []
    for prompt, option in zip(prompt_ids, option_ids, strict=True):
        if len(prompt) + len(option) > room:
            option = option[: max(room // 2, room - len(prompt))]
            keep = room - len(option)
            prompt = prompt[-keep:]
        built.append(special.around(prompt, option))
    return built


def _check_text(written: Any, label: int, options: Sequence[str]) -> None:
    """Refuses a label that is the text of another option than the one that it stands for."""
    named = str(written).strip()
    is_text = len(named) > 1 and not named.isdigit() and named in options
    if is_text and label != UNLABELLED and options[label] != named:
        raise ValueError(
            f"label {shown(named)} stands for the option {shown(options[label])}, but another "
            "option has that text: list 'labels' in the order of the options, or write numbers"
        )


class _Choice(Head):
    name = "choice"
    columns = {"id": "text", "prompt": "text", "options": "texts", "label": "whole"}
    chooses = True
    nested = True
    library = "multiple_choice"
    auto_class = "AutoModelForMultipleChoice"
    # peft has no task type for multiple choice: without one, `modules_to_save` keeps the head.
    peft_task = None
    peft_layers = {
        "bert": {"1": "pooler.dense", "4": "classifier"},
        "xlm-roberta": {"1": "pooler.dense", "4": "classifier"},
    }
    pipeline = "multiple-choice"
    inputs = ("prompt", "options")
    needs = ("prompt", "options")
    takes = ("question",)
    aliases = {"options": ("choices",)}
    listed = ("options",)
    parts = ("prompt", "options", "label")
    metrics = ("accuracy",)
    suffix = "jsonl"

    def check(self, task: TaskLike, example: Example) -> None:
        """Refuses a wrong number of options, a label outside them, and empty texts."""
        count = len(example["options"])
        if count != task.choices:
            raise ValueError(f"{count} options where {task.name} has {task.choices}")
        check_label(task, example["label"], count)
        if not example["prompt"] or not example["options"][example["label"]]:
            raise ValueError("the prompt or the right option is empty")

    def encode(self, examples: Columns, how: Encoding) -> Features:
        """One feature an example, with a sequence `<s> prompt </s></s> option </s>` an option.

        The prompt is cut at its left end where both do not fit, so that the words next to the
        option stay; an option longer than half the room is cut to that half.

        Returns:
            Columns `input_ids` (list of lists of ints), `length` (the longest option's, padded,
            times the number of options: what the example costs), `example` and `labels`.
        """
        options = examples["options"]
        both = zip(examples["prompt"], options, strict=True)
        prompts = list(chain.from_iterable([prompt] * len(each) for prompt, each in both))
        flat = _pairs(prompts, list(chain.from_iterable(options)), how.tokenizer, how.max_length)
        ends = accumulate((len(o) for o in options), initial=0)
        grouped = [flat[a:b] for a, b in pairwise(ends)]
        features: Features = {
            "input_ids": grouped,
            "length": [padded_length(max(map(len, group))) * len(group) for group in grouped],
            "example": list(range(len(grouped))),
        }
        if "label" in examples:
            features["labels"] = list(examples["label"])
        return features

    def add(self, model: Any, name: str, labels: Sequence[str], choices: int) -> None:
        """Two linear layers that give every option one logit, as in the backbone's own class."""
        model.add_multiple_choice_head(name, num_choices=choices, layers=2)

    def read(self, rows: Rows) -> Features:
        """A question is read before every option, as Cosmos QA has it after its story."""
        options = [
            [f"{row.get('question', '')} {option}".strip() for option in row["options"]]
            for row in rows
        ]
        return {"prompt": [row["prompt"] for row in rows], "options": options}

    def say(self, predicted: Prediction) -> dict[str, Any]:
        """The number of the likeliest option, its text, and the probability of each."""
        chosen = predicted.value
        option = predicted.row["options"][chosen]
        return {"choice": chosen, "option": option, "probabilities": predicted.scores}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The option with its number, from 1, and its probability."""
        chance = answer["probabilities"][answer["choice"]]
        return f"{answer['option']} (option {answer['choice'] + 1}, {chance:.2f})"

    def written(self, target: TargetLike, values: Sequence[Any], examples: Any) -> list[str]:
        """A JSON object with the option's number, from 0, a line."""
        return [json.dumps({"label": value}, allow_nan=False) for value in values]

    def example(self, row: Any) -> ChoiceExample:
        """The label may be an option's number, or one of the task's labels."""
        options = row.options()
        labels = row.labels or tuple(str(number) for number in range(len(options)))
        label = row.label(labels)
        _check_text(row.given("label"), label, options)
        return {"id": row.id(), "prompt": row.text("prompt"), "options": options, "label": label}


HEAD = _Choice()
