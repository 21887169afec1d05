"""What backbones are called."""

from __future__ import annotations

EMBEDDED = "embedded"
DEFAULT_BACKBONE = "xlm-roberta-large"

# Short names whose repositories moved under an organisation.
HUB_IDS = {
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}


def hub_id(name: str) -> str:
    """The id on the Hub of a backbone given by such an id, or by one of the short names."""
    repo = name.partition("@")[0]
    return HUB_IDS.get(repo, repo)
