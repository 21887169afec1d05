"""What spoilt modules have in place of what they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter_stilts.engine.methods import METHODS
from adapter_stilts.heads import KINDS

SURROGATE, NOT_JSON = "\ud800", "@raw@"
ANY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5, 1e-9, 1e308, -1e308),
    *("", "x", "lora", "..", "../../x", "/etc/passwd", "C:\\x", "a\nb", "\x1b[2J", "a\u202eb"),
    *("<script>alert(1)</script>", "[x](javascript:a) | b", SURROGATE, "x" * 300_000, "\U0001f98a"),
    *([], {}, [0, -1, 10**9], ["q", "q", 7], {"default": 1e-9}, {"a": {"b": [1]}}, [[]], [None]),
)
"""In place of any value."""
RAW = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 50_000, '"\\ud800"', "{", "")
"""Texts in place of a value, most of them no JSON."""
SIZES = (*range(6), 15, 16, 17, 64, 127, 128, 129, 130, 131, 512, 2**20, 2**20 + 1, 64.0, "64")
_TASKS = ("mnli", "qqp", "squad", "squad-v2", "hellaswag", "commonsense-qa", "ccg", "lareqa")
OF_FIELD: Mapping[str, tuple[Any, ...]] = {
    "max_length": SIZES,
    "stride": (*SIZES, 62, 63, 65, -1),
    "head": (*KINDS, "multitask", "none", "oracle", "text"),
    "head_type": (
        "classification",
        "multiple_choice",
        "question_answering",
        "tagging",
        "masked_lm",
    ),
    "method": tuple(METHODS),
    "task": (*_TASKS, "xnli", "tydiqa", "panx", "xnli.mnli", "lang-sw", "nothing", "", "a\nb"),
    "composition": ("module", "stack(module, module)", "fuse(a, b)", "average(a, b)", "none", "(("),
    "no_answer_threshold": (None, 0, -5.0, 5.0, 1e308, -1e308, "0"),
    "scores": ({}, {"f1": 1e308}, {"f1": -1}, {"f1": None}, {"a\nb": 1.0}),
    "labels": ([], ["a"], ["N", "N"], 3, 5, 0, -1, ["N", "NP", "S/NP"], ["a\nb", "c"]),
    "choices": (0, 1, 2, 4, 5, 1000),
    "residual_before_ln": (True, False, "post_add", "x", 1, None),
    "non_linearity": ("relu", "gelu", "swish", "tanh", "leakyrelu", "nothing", "__class__"),
    "activation_function": ("relu", "tanh", "nothing", None),
    "num_labels": (0, 1, 2, 3, 4, 5, 6, 10_000),
    "num_choices": (0, 1, 2, 3, 4, 5, 1000),
    "layers": (0, 1, 2, 3, 8),
    "alpha": (0, 1, 1e-300, 1e6, -1e6, 1e7),
    "lora_alpha": (0, 1, 1e-300, 1e6, -1e6, 1e7, 1e308),
    "r": (0, 1, 4, 8, 16, 4096),
    "reduction_factor": (
        0.25,
        1,
        2,
        16,
        32,
        1e9,
        {"default": 16},
        {"0": 2, "default": 16},
        {"0": 1},
    ),
    "leave_out": ([], [0], [0, 1, 2], [3], [99], [0, 0]),
    "scaling": (0.0, 1, "learned", "channel", 1e6, -1e6),
    "inv_adapter": ("nice", "glow", None),
    "init_lora_weights": (True, None, "pissa", "olora", "gaussian", "loftq"),
    "modules_to_save": (None, [], ["classifier"], ["LayerNorm"], "classifier"),
    "bias": ("none", "all", True, False),
    "fingerprint": ("", "0" * 16),
    "run": ("", "0" * 16, "a/b"),
    "parameters": (0, 1, 2**53, -1),
    "kind": ("full", "lean", "uniform"),
    "shared": (True, False),
    "rank": (0, 1, 8, 64),
}
"""In place of the value of a field of that name: what might pass, and what just might not."""
FIELDS = ("heads", "merged", "bases", "evaluations", "full_precision", "origin", "planned_steps")
ODD_NAMES = ("to", "good", "none", "a:b", "é", "a b", "x" * 200, "stack(a)", "-", "*", "a.b", "a,b")
ODD_LABELS = (
    "",
    " ",
    "<b>x</b>",
    "a|b",
    "__proto__",
    "x" * 9000,
    "\U0001f98a",
    "LABEL_0",
    "a\u200db",
)
