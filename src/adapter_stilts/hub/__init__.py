"""What all that talks to the Hub has in common: answers are checked, calls are repeated once."""

from __future__ import annotations

import re


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which never changes."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None
