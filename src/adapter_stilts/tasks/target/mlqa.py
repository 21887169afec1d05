"""MLQA: questions on Wikipedia, each in several languages. Seven languages and all their pairs.

A pair such as `en-de` has the context in the first language and the question in the second; the
answer is in the context's. XTREME's test files have no answers; the release's have. Learnt from
SQuAD 1.1.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from adapter_stilts.tasks.intermediate import squad
from adapter_stilts.tasks.spec import FileData, HubData, Source, TargetSpec, codes, hub_splits
from adapter_stilts.tasks.target.xquad import example

LANGUAGES = codes("en ar de es hi vi zh")
PAIRS = {
    f"{context}-{question}": (context, question) for context, question in permutations(LANGUAGES, 2)
}

TASK = TargetSpec(
    name="mlqa",
    title="MLQA, extractive question answering",
    category="qa",
    head="span",
    metric="mlqa",
    suites={"xtreme": LANGUAGES, "xtreme-r": LANGUAGES},
    parallel=True,
    sources=(
        Source(
            name="mlqa",
            folders=("mlqa", "MLQA"),
            hub=HubData(
                id="google/xtreme",
                revision="ec5f1f46e9af79639a90684a7a70a956c4998f04",
                splits=hub_splits("MLQA.{context}.{question}", dev="validation", test="test"),
            ),
            files=tuple(
                FileData(
                    "squad",
                    {
                        "dev": (f"{folder}dev/dev-context-{{context}}-question-{{question}}.json",),
                        "test": (
                            f"{folder}test/test-context-{{context}}-question-{{question}}.json",
                        ),
                    },
                )
                for folder in ("MLQA_V1/", "")
            ),
        ),
    ),
    to_example=example,
    training=(replace(squad.TASK, name="mlqa", aliases=(), published={}),),
    licence="CC BY-SA 3.0",
    citation=(
        "Patrick Lewis, Barlas Oğuz, Ruty Rinott, Sebastian Riedel and Holger Schwenk. MLQA: "
        "Evaluating Cross-lingual Extractive Question Answering. ACL 2020. arXiv:1910.07475"
    ),
    near="squad-v2",
    others=tuple(PAIRS),
    fields={
        "context": {pair: context for pair, (context, _) in PAIRS.items()},
        "question": {pair: question for pair, (_, question) in PAIRS.items()},
    },
    max_length=384,
    published={
        "f1": 71.6,
        "model": "XLM-R Large, every weight trained",
        "source": "Hu et al. 2020, arXiv:2003.11080 (test, mean of 7 languages)",
    },
)
