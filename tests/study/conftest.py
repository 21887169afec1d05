"""Small targets and modules, as the tests of evaluation have them."""

from __future__ import annotations

from evaluation_kit import made_zoo, tiny, with_languages

__all__ = ["made_zoo", "tiny", "with_languages"]
