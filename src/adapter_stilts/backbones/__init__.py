"""Frozen encoders: where they come from, their precision, their identity."""

from adapter_stilts.backbones.backbone import (
    DEFAULT_BACKBONE,
    EMBEDDED,
    Backbone,
    bf16_available,
    check_precision,
    default_device,
    find_backbone,
    fingerprint,
    hub_id,
    resolve_precision,
)

__all__ = [
    "DEFAULT_BACKBONE",
    "EMBEDDED",
    "Backbone",
    "bf16_available",
    "check_precision",
    "default_device",
    "find_backbone",
    "fingerprint",
    "hub_id",
    "resolve_precision",
]
