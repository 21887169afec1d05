"""What all that talks to the Hub has in common: how repositories and revisions are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import constants

from adapter_stilts.errors import UserError
from adapter_stilts.paths import pulled_dir


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which never changes."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


_PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[\w.][\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class HubId:
    """A repository at a revision (a branch, a tag or a commit)."""

    repo: str
    revision: str = constants.DEFAULT_REVISION

    @classmethod
    def parse(cls, text: str) -> HubId:
        """What a person typed; refuses what is no id."""
        found = _ID.fullmatch(text) if is_hub_id(text) else None
        if found is None:
            raise UserError(
                f"'{text}' is no id of the Hub: ids look like someone/xlmr-large-squad, with "
                "@revision if need be"
            )
        return cls(found["repo"], found["revision"] or constants.DEFAULT_REVISION)

    @property
    def folder(self) -> Path:
        """Where its commits lie."""
        return pulled_dir() / self.repo.replace("/", "--")

    @property
    def note(self) -> Path:
        """The file with the commit that the revision was when it was last asked for."""
        return self.folder / ".refs" / quote(self.revision, safe="")


def is_hub_id(text: str) -> bool:
    """Whether a text may be the id of a module on the Hub."""
    found = _ID.fullmatch(text)
    return found is not None and ".." not in text and "--" not in found["repo"]
