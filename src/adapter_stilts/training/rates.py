"""The usual learning rate of a training."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter_stilts.engine.methods import get_method
from adapter_stilts.tasks.spec import HeadKind

LAYERS, WIDTH = 12, 384
"""The shape of the backbone that the sweep was made on."""

Steps = tuple[tuple[int, float], ...]
"""Peak rates, each up to a number of optimizer steps."""

ANY = 10**9

_RATES: Mapping[str, Steps] = MappingProxyType(
    {
        "bottleneck": ((2000, 3e-3), (ANY, 1e-3)),
        "bottleneck, tagging": ((300, 1e-2), (2000, 3e-3), (ANY, 1e-3)),
        # At 3e-3, in 300 steps, XNLI loses 11 to 25 points over five of nine modules.
        "bottleneck, classification": ((100, 3e-3), (ANY, 1e-3)),
        # 3e-3 did well in seven trainings of 500 to 1,700 steps and lost all in two, of qqp and
        # cosmos-qa (docs/results/zoo.md), so longer ones begin lower.
        "lora": ((300, 3e-3), (ANY, 1e-3)),
        "lora, tagging": ((300, 1e-2), (2000, 3e-3), (ANY, 1e-3)),
        "head": ((300, 1e-1), (ANY, 3e-2)),
        "fusion-full": ((200, 3e-3), (2000, 1e-3), (ANY, 3e-4)),
        "fusion-lean": ((100, 1e-1), (300, 3e-2), (ANY, 1e-2)),
        "fusion-lean, LoRAs": ((100, 1e-1), (ANY, 3e-2)),
        # Not in the sweep: adapters that begin inside the embeddings, and scalings (Liu et al.
        # 2022 take 3e-3 for models of 3 and 11 billion parameters).
        "invertible": ((ANY, 5e-4),),
        "ia3": ((ANY, 1e-2),),
    }
)
_LIKE = MappingProxyType(
    {
        "double-bottleneck": "bottleneck",
        "parallel-bottleneck": "bottleneck",
        "double-invertible": "invertible",
        "lora-all": "lora",
        "dora": "lora",
        "fusion-uniform": "head",
        "fusion-arrow": "head",
        "fusion-shared": "fusion-lean",
    }
)
"""Methods that the sweep lacks, and the one of which they are a kind."""


def usual_rate(
    method: str,
    steps: int,
    *,
    head: HeadKind | None = None,
    over_loras: bool = False,
    layers: int = LAYERS,
    width: int = WIDTH,
) -> float:
    """The peak learning rate of AdamW for a training of so many optimizer steps.

    In a wider or deeper backbone than the sweep's it falls as 1/width (Yang et al. 2022, arXiv
    2203.03466) and as 1/sqrt(layers) (Yang et al. 2023, arXiv 2310.02244). That is argued, not
    measured; for XLM-R Large it gives bottleneck adapters 8e-4 in up to 2,000 steps and 2.7e-4
    in more, within what is published for them on XLM-R Base (1e-4 to 8e-4).

    Args:
        method: as `get_method` takes it.
        steps: optimizer steps of the whole training.
        head: kind of the one head that learns with it; None where there are several.
        over_loras: whether it fuses LoRAs, whose keys are small: attention over them moves slowly.
        layers, width: shape of the backbone.

    Raises:
        UserError: there is no such method.

    >>> usual_rate("bottleneck", 500)
    0.003
    """
    found = get_method(method)
    kind = found.rates_of or _LIKE.get(found.name, found.name)
    kind = _LIKE.get(kind, kind)
    special = f"{kind}, LoRAs" if over_loras else f"{kind}, {head}"
    rates = _RATES.get(special, _RATES[kind])
    rate = next((rate for most, rate in rates if steps <= most), rates[-1][1])
    shape = min(1.0, WIDTH / width) * min(1.0, LAYERS / layers) ** 0.5
    return float(f"{rate * shape:.2g}")
