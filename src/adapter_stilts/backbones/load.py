"""Finds a backbone: the embedded one, a local folder, or a model on the Hub."""

from __future__ import annotations

from pathlib import Path

from adapter_stilts.backbones.backbone import Backbone
from adapter_stilts.backbones.names import EMBEDDED
from adapter_stilts.errors import UserError


def find_backbone(name: str) -> Backbone:
    """The backbone of that name: `embedded`, a local folder, or a Hub id (`id@revision`).

    Raises:
        UserError: no such folder or repository, one whose configuration is not accepted, or the
            Hub cannot be reached.
    """
    if name == EMBEDDED:
        from adapter_stilts.backbones.embedded import embedded_backbone

        return Backbone(name, embedded_backbone(), own=True)
    local = Path(name).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise UserError(f"backbone folder {local} has no config.json")
        found = Backbone(str(local.absolute()), local)
        assert found.fields  # checked before any work, wherever the name came from
        return found
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1:
        raise UserError(f"backbone folder {name} is not there")
    from adapter_stilts.backbones.hub import download_backbone

    return download_backbone(name, [EMBEDDED])
