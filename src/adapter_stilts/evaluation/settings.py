"""What decides predictions, beside composition and data."""

from __future__ import annotations

from dataclasses import dataclass

from adapter_stilts.backbones import check_precision
from adapter_stilts.engine.poolings import check_pooling
from adapter_stilts.errors import UserError
from adapter_stilts.evaluation.layer_rules import LayerRule
from adapter_stilts.tasks.registry import get_target


@dataclass(frozen=True)
class Settings:
    """What decides predictions, beside composition and data."""

    precision: str = "auto"
    limit: int | None = None
    batch_tokens: int | None = None
    layer: int | None = None
    pooling: str = "mean"
    layer_from: str | None = None
    layer_rule: LayerRule | None = None


def check_settings(settings: Settings) -> None:
    """Refuses what cannot be, before anything heavy is imported.

    Raises:
        UserError: names it.
    """
    check_precision(settings.precision)
    for name, value in (("batch-tokens", settings.batch_tokens), ("limit", settings.limit)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: must be above 0")
    if settings.layer is not None and settings.layer < 0:
        raise UserError(f"no layer {settings.layer}: 0 is the output of the embeddings")
    check_pooling(settings.pooling)
    if settings.layer_from is not None:
        get_target(settings.layer_from)
