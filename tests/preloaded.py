"""What `process_kit` imports once, before it forks processes."""

from __future__ import annotations

import gc

import adapter_stilts.evaluation.run
import adapter_stilts.training.fuse
import adapter_stilts.training.multitask
import adapter_stilts.training.run
import adapter_stilts.training.target
import adapter_stilts.zoo.hub.pull
import adapter_stilts.zoo.hub.push
import adapter_stilts.zoo.load  # noqa: F401

gc.collect()
gc.freeze()
