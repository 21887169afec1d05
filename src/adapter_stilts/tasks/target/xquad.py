"""XQuAD: questions on paragraphs of SQuAD, translated by people. Eleven languages and Romanian.

There is one evaluation set, which XTREME calls the test set. Learnt from SQuAD 1.1.
"""

from __future__ import annotations

from dataclasses import replace

from adapter_stilts.heads.span import SpanExample
from adapter_stilts.tasks.intermediate import squad
from adapter_stilts.tasks.spec import FileData, HubData, Row, Source, TargetSpec, codes

LANGUAGES = codes("en ar de el es hi ru th tr vi zh")


def example(row: Row) -> SpanExample:
    """One question. XTREME blanks the answers of its test sets: then there is none to score."""
    found = squad.span_example(row)
    if not any(found["answers"]):
        found["answers"], found["answer_starts"] = [], []
    return found


TASK = TargetSpec(
    name="xquad",
    title="XQuAD, extractive question answering",
    category="qa",
    head="span",
    metric="squad",
    suites={"xtreme": LANGUAGES, "xtreme-r": LANGUAGES},
    parallel=True,
    sources=(
        Source(
            name="xquad",
            folders=("xquad", "XQuAD"),
            hub=HubData(
                id="google/xquad",
                revision="51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
                splits={"test": ({"config": "xquad.{lang}", "split": "validation"},)},
            ),
            files=(FileData("squad", {"test": ("xquad.{lang}.json",)}),),
        ),
    ),
    to_example=example,
    training=(replace(squad.TASK, name="xquad", aliases=(), published={}),),
    licence="CC BY-SA 4.0",
    citation=(
        "Mikel Artetxe, Sebastian Ruder and Dani Yogatama. On the Cross-lingual Transferability of "
        "Monolingual Representations. ACL 2020. arXiv:1910.11856"
    ),
    near="squad-v2",
    others=("ro",),
    max_length=384,
    published={
        "f1": 76.6,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 11 languages)",
    },
)
