"""Notes of the libraries that would mislead a user, and only those, are kept from the screen."""

from __future__ import annotations

import logging

_MISLEADING = {
    # Said while a module is being activated, before it is active.
    "adapters.model_mixin": "none are activated for the forward pass",
    # Every local tokenizer is taken for a Mistral one with a wrong pattern.
    "transformers.tokenization_utils_base": "fix_mistral_regex",
    # The pooler may be newly initialised: no head here reads it.
    "transformers.modeling_utils": "pooler",
}


def quieten() -> None:
    """Installs the filters; calling it again does nothing more."""
    for name, text in _MISLEADING.items():
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Misleading) for known in logger.filters):
            logger.addFilter(_Misleading(text))


class _Misleading(logging.Filter):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the note is shown: not where it holds the misleading text."""
        return self._text not in record.getMessage()
