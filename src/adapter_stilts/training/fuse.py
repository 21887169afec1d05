"""Learning a fusion: attention over frozen modules, for a target task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from adapter_stilts.errors import UserError, unknown
from adapter_stilts.modules.methods import METHODS, is_fusion
from adapter_stilts.tasks.registry import get_target
from adapter_stilts.training.job import Lesson
from adapter_stilts.training.run import Trained, train_adapter
from adapter_stilts.zoo.composed import resolve_sources

logger = logging.getLogger(__name__)

LEAST_BATCH = 16
KINDS = tuple(name.removeprefix("fusion-") for name in METHODS if is_fusion(name))


def fuse(
    sources: Sequence[str],
    target: str,
    *,
    kind: str = "lean",
    source_lang: str = "en",
    backbone: str | None = None,
    **options: Any,
) -> Trained:
    """Learns a fusion of modules on a target's English data (Pfeiffer et al. 2021).

    The modules stay as they are; attention over them and a head are learnt. The result is a
    module, `stack(fuse(...), target)` a composition that can be trained on top of it.

    Args:
        sources: names, folders or ids of two or more modules of one kind on one backbone; their
            order does not matter.
        target: a target task, such as `tydiqa`.
        kind: `full` (AdapterFusion's own query, key and value matrices), `lean` (low-rank query
            and key, no value), `shared` (lean, one for all layers) or `uniform` (the mean; only
            the head is learnt). Of LoRAs, `full` is `lean`: they have no full-width fusion.
        source_lang: the language of the training data.
        backbone: where the modules' backbone lies, if it has moved.
        options: as for `train_adapter`; `rank` is that of queries and keys.

    Raises:
        UserError: as of `train_adapter`; unknown modules, one named twice, or of different kinds
            or backbones; a target without training data.
    """
    if kind not in KINDS:
        raise unknown("kind of fusion", kind, KINDS)
    if options.get("method"):
        raise UserError("a fusion has no method: it takes that of its modules (see --kind)")
    stages = get_target(target).trained_in(source_lang)
    on = resolve_sources(sources)
    batch = int(options.get("batch_examples") or 32) * int(options.get("accumulate") or 1)
    if batch < LEAST_BATCH:
        logger.warning(
            "%d examples a step: fusion is known to diverge under %d; raise --batch-tokens or "
            "--accumulate",
            batch,
            LEAST_BATCH,
        )
    # Long texts fill the usual budget with too few examples.
    given = {
        "batch_tokens": 8192,
        "evaluations": 4,
        **{k: v for k, v in options.items() if v is not None},
    }
    given["method"] = f"fusion-{kind}"
    given["backbone"] = backbone or on.backbone
    return train_adapter(Lesson((stages[-1],), on, fuses=True), **given)
