"""A module of this disk becomes a repository on the Hub."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo

from adapter_stilts.compositions import Composition, as_text
from adapter_stilts.errors import UserError
from adapter_stilts.hub.client import Repository, call, download
from adapter_stilts.keywords import checks_keywords
from adapter_stilts.safety import read_json
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.hub.ids import HubId
from adapter_stilts.zoo.hub.shareable import evaluations, shareable, stage
from adapter_stilts.zoo.recipe_file import RECIPE
from adapter_stilts.zoo.record import RECORD, ModuleRecord

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")


@dataclass(frozen=True)
class Pushed:
    """Where a module lies on the Hub."""

    repo: str
    commit: str
    url: str


@checks_keywords
def push(
    module: Composition,
    to: str,
    *,
    private: bool = False,
    branch: str | None = None,
    backbone: str | None = None,
    scores: str | Path | None = None,
    overwrite: bool = False,
) -> Pushed:
    """Uploads a module with its card; what is on the Hub already is not sent again.

    Args:
        module: its name, or its folder.
        to: the repository, such as `someone/xlmr-large-squad`; it is made if it is not there.
        private: make it so that only its owner sees it.
        branch: where to write, in place of `main`.
        backbone: chooses among modules of one name; and the Hub's id of the backbone, for a module
            trained on one in a folder.
        scores: a folder of predictions that `evaluate` wrote for this module: the card shows
            its scores.
        overwrite: replace what the repository holds, even where it is something else.

    Raises:
        UserError: no such module, a damaged one, no write access, or the repository holds
            something else.
        FailureError: the Hub failed again and again.
    """
    wanted = HubId.parse(to)
    if "@" in to:
        raise UserError(f"'{to}': a revision cannot be written; give --branch")
    folder = find_module(as_text(module), backbone)
    record = shareable(folder, backbone)
    if scores is not None:
        record = dataclasses.replace(record, evaluations=evaluations(folder, Path(scores)))
    with tempfile.TemporaryDirectory(prefix="adstilts-push-") as work:
        stage(record, folder, Path(work), repo=wanted.repo)
        return _upload(record, Path(work), wanted.repo, private, branch, overwrite)


def _upload(
    record: ModuleRecord,
    work: Path,
    repo: str,
    private: bool,
    branch: str | None,
    overwrite: bool,
) -> Pushed:
    api, repository = HfApi(), Repository(repo)
    there = _there(api, repo)
    if there and not overwrite:
        _check_kind(there, record, repo)
    if there is None:
        call(
            repository,
            lambda: api.create_repo(repo, private=private or None, exist_ok=True),
            writes=True,
        )
    if branch:
        call(repository, lambda: api.create_branch(repo, branch=branch, exist_ok=True), writes=True)
    commit = call(
        repository,
        lambda: api.upload_folder(
            repo_id=repo,
            folder_path=work,
            revision=branch,
            commit_message=f"Upload {record.name} ({record.method}, {record.task})",
            # What an earlier module had and this one has not would be taken for a part of it.
            delete_patterns=["*.json", "*.safetensors", RECIPE],
        ),
        writes=True,
    )
    return Pushed(repo, str(commit.oid), f"{api.endpoint}/{repo}")


def _there(api: HfApi, repo: str) -> ModelInfo | None:
    """What the repository holds; None where there is no such repository, or none that one sees."""

    def ask() -> ModelInfo | None:
        try:
            return api.model_info(repo, timeout=10.0)
        except RepositoryNotFoundError:
            return None

    return call(Repository(repo), ask, writes=True)


def _check_kind(there: ModelInfo, record: ModuleRecord, repo: str) -> None:
    """Refuses to write over something else than an earlier state of the module."""
    names = {each.rfilename for each in there.siblings or ()}
    if RECORD in names:
        other = read_json(download(Repository(repo, revision=str(there.sha)), RECORD))
        if isinstance(other, dict) and _kind(other) == _kind(dataclasses.asdict(record)):
            return
        known = " ".join(_kind(other)[:3]) if isinstance(other, dict) else "something else"
        raise UserError(
            f"'{repo}' holds another module ({known}): choose another id, or add --overwrite"
        )
    taken = sorted(name for name in names if name.endswith(_WEIGHTS))
    if taken:
        raise UserError(
            f"'{repo}' holds something else ({taken[0]}): choose another id, or add --overwrite"
        )


def _kind(fields: Mapping[str, object]) -> tuple[str, ...]:
    backbone = fields.get("backbone")
    known = backbone if isinstance(backbone, dict) else {}
    texts = [fields.get(key) for key in ("name", "method", "task")]
    return (*map(str, texts), str(known.get("fingerprint")))
