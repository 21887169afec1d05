"""What `process_kit` imports once, before it forks processes.

The package imports heavy libraries only where they are used, so they are named here: a process
that had to import them itself would take seconds longer.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil

import adapter_stilts

LAZY = ("data", "engine", "evaluation", "heads", "inference", "metrics", "training")
"""Packages of which every module is imported."""
HEAVY = ("accelerate", "adapters", "datasets", "evaluate", "peft", "sklearn", "torch")
MODELS = ("adapters.models.bert.adapter_model", "adapters.models.xlm_roberta.adapter_model")

gc.disable()  # what is imported is no garbage
for package in LAZY:
    places = [f"{place}/{package}" for place in adapter_stilts.__path__]
    for found in pkgutil.walk_packages(places, f"adapter_stilts.{package}."):
        importlib.import_module(found.name)
for name in (*HEAVY, *MODELS, "adapter_stilts.zoo.pull", "adapter_stilts.zoo.push"):
    importlib.import_module(name)
for name in ("adapter_stilts.study.work", "adapter_stilts.study.run", "adapter_stilts.zoo.resolve"):
    importlib.import_module(name)

gc.collect()
gc.freeze()
gc.enable()
