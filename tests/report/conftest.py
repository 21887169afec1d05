"""A browser for the reports."""

from __future__ import annotations

from browser_kit import chromium

__all__ = ["chromium"]
