"""Templated checks of question answering: simple questions that a model may not get wrong.

The templates are the package's own, so no data has to be obtained. To add a language, add its file
to `data/checks`.
"""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.tasks.intermediate.squad import span_example
from adapter_stilts.tasks.spec import FileData, Source, TargetSpec, codes

TASK = TargetSpec(
    name="qa-checks",
    title="Templated checks of question answering",
    category="qa",
    head="span",
    metric="exact_match",
    suites={},
    own_languages=codes("en de es fr id it ru zh"),
    parallel=True,
    sources=(
        Source(
            name="qa-checks",
            root=str(Path(__file__).parents[2] / "data" / "checks"),
            files=(FileData("checks", {"test": ("{lang}.yaml",)}),),
        ),
    ),
    to_example=span_example,
    training=(),
    licence="Apache-2.0",
    citation=(
        "Sebastian Ruder et al. XTREME-R: Towards More Challenging and Nuanced Multilingual "
        "Evaluation. EMNLP 2021. arXiv:2104.07412 (the idea; the sentences are this package's)"
    ),
    near="squad",
    max_length=128,
)
