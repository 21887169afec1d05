"""XCOPA: what was the cause, or the effect? Two alternatives, in eleven languages and in English.

Learnt in two stages, as in XTREME-R: on Social IQa, then on English COPA. English is evaluated on
COPA; its test set in SuperGLUE's release has no labels. XTREME-R's preprocessing overwrites the
labels of all test files by 0, so its flat copies are read for development only.
"""

from __future__ import annotations

from adapter_stilts.heads.choice import ChoiceExample
from adapter_stilts.tasks.rows import given_label, label_index, text
from adapter_stilts.tasks.spec import (
    FileData,
    HubData,
    Row,
    Source,
    TargetSpec,
    TaskSpec,
    codes,
    hub_splits,
)

LANGUAGES = codes("et ht id it qu sw ta th tr vi zh")


def example(row: Row) -> ChoiceExample:
    """One premise. The question is put in English in every language, as in XTREME-R."""
    return {
        "id": str(row.get("idx", "")),
        "prompt": f"{text(row, 'premise')} What was the {text(row, 'question')}?",
        "options": [text(row, "choice1"), text(row, "choice2")],
        "label": given_label(row, "label", "01"),
    }


def social_iqa_example(row: Row) -> ChoiceExample:
    """One question, with the release's letter for the right answer or the Hub's number from 1."""
    correct = "ABC" if "correct" in row else "123"
    return {
        "id": "",
        "prompt": f"{text(row, 'context')} {text(row, 'question')}",
        "options": [text(row, f"answer{letter}") for letter in "ABC"],
        "label": label_index(text(row, "correct" if "correct" in row else "label"), correct),
    }


SOCIAL_IQA = TaskSpec(
    name="social-iqa",
    title="Social IQa, commonsense about social situations",
    head="choice",
    metric="accuracy",
    sources=(
        Source(
            name="social_i_qa",
            folders=("social_i_qa", "siqa", "socialIQa_v1.4"),
            hub=HubData(
                id="lighteval/siqa",
                revision="54c6a1f8cb6daf4f5abf24a601852612fb35eb25",
                splits={"train": ({"split": "train"},), "dev": ({"split": "validation"},)},
            ),
            files=(
                FileData(
                    "jsonl",
                    {"train": ("socialIQa_v1.4_trn.jsonl",), "dev": ("socialIQa_v1.4_dev.jsonl",)},
                ),
                # A copy without the training file: its dev set is learnt from, its test set tried.
                FileData(
                    "jsonl",
                    {"train": ("socialIQa_v1.4_dev.jsonl",), "dev": ("socialIQa_v1.4_tst.jsonl",)},
                ),
            ),
        ),
    ),
    to_example=social_iqa_example,
    choices=3,
    sizes={"train": 33_410, "dev": 1_954},
    licence="CC BY 4.0",
    citation=(
        "Maarten Sap, Hannah Rashkin, Derek Chen, Ronan Le Bras and Yejin Choi. Social IQa: "
        "Commonsense Reasoning about Social Interactions. EMNLP 2019. arXiv:1904.09728"
    ),
    aliases=("siqa",),
    max_length=128,
)

COPA = TaskSpec(
    name="xcopa",
    title="COPA, causes and effects",
    head="choice",
    metric="accuracy",
    sources=(
        Source(
            name="copa",
            folders=("copa", "COPA", "xcopa"),
            hub=HubData(
                id="aps/super_glue",
                revision="refs/convert/parquet",  # the main branch is a script
                splits={
                    "train": ({"split": "train", "files": "copa/train/*.parquet"},),
                    "dev": ({"split": "validation", "files": "copa/validation/*.parquet"},),
                },
            ),
            files=tuple(
                FileData("jsonl", {"train": (f"train{end}",), "dev": (f"val{end}",)})
                for end in (".jsonl", "-en.jsonl", ".en.jsonl")
            ),
        ),
    ),
    to_example=example,
    choices=2,
    sizes={"train": 400, "dev": 100},
    licence="BSD-2",
    citation=(
        "Melissa Roemmele, Cosmin Adrian Bejan and Andrew S. Gordon. Choice of Plausible "
        "Alternatives: An Evaluation of Commonsense Causal Reasoning. AAAI Spring Symposium 2011"
    ),
    max_length=128,
)

TASK = TargetSpec(
    name="xcopa",
    title="XCOPA, causes and effects",
    category="classification",
    head="choice",
    metric="accuracy",
    suites={"xtreme-r": LANGUAGES},
    parallel=True,
    sources=(
        Source(
            name="xcopa",
            folders=("xcopa", "xcopa/data", "XCOPA", "copa", "COPA"),
            hub=HubData(
                id="cambridgeltl/xcopa",
                revision="042f78955ba48e6404616762fa6e05e839c3907a",
                splits=hub_splits("{lang}", dev="validation", test="test"),
            ),
            files=(
                FileData(
                    "jsonl",
                    {"dev": ("{lang}/val.{lang}.jsonl",), "test": ("{lang}/test.{lang}.jsonl",)},
                ),
                FileData("jsonl", {"dev": ("val.{lang}.jsonl",)}),
                FileData("jsonl", {"dev": ("val-{lang}.jsonl",)}),
                FileData("jsonl", {"dev": ("{copa}val.jsonl",), "test": ("{copa}test.jsonl",)}),
            ),
        ),
    ),
    to_example=example,
    training=(SOCIAL_IQA, COPA),
    licence="CC BY 4.0 (XCOPA), BSD-2 (COPA)",
    citation=(
        "Edoardo Maria Ponti, Goran Glavaš, Olga Majewska, Qianchu Liu, Ivan Vulić and Anna "
        "Korhonen. XCOPA: A Multilingual Dataset for Causal Commonsense Reasoning. EMNLP 2020. "
        "arXiv:2005.00333"
    ),
    near="cosmos-qa",
    others=("en",),
    # COPA's own files are English; those of another language would lie in a folder of that name.
    fields={"copa": {"en": "", **{language: f"{language}/" for language in LANGUAGES}}},
    choices=2,
    max_length=128,
    aliases=("copa",),
    published={
        "accuracy": 69.2,
        "model": "XLM-R Large, every weight trained",
        "source": "Ruder et al. 2021, arXiv:2104.07412 (test, mean of 11 languages)",
    },
)
