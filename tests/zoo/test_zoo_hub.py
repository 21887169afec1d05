"""Pulling and pushing against a Hub on the loopback interface, which is made to misbehave."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import configure_http_backend, constants

from adapter_stilts import pull, push
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub import HubId
from adapter_stilts.hub.client import ATTEMPTS
from adapter_stilts.zoo.find import find_module
from adapter_stilts.zoo.pull import search
from adapter_stilts.zoo.record import RECORD, ModuleRecord
from adapter_stilts.zoo.resolve import resolve
from hub_kit import REPO, connect, files_of, pull_there, push_there
from process_kit import begin, end
from writable_hub import READER, WRITER, Fault, Hub, serving

WEIGHTS = "adapter.safetensors"
BACKBONE = "tiny/plain"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of them in earnest."""
    pauses: list[float] = []
    monkeypatch.setattr("adapter_stilts.hub.client.time.sleep", pauses.append)
    return pauses


@pytest.fixture
def hub(
    tmp_path: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> Iterator[Hub]:
    """An empty Hub; the user may write."""
    with serving() as found:
        connect(monkeypatch, found.url, tmp_path / "hf", WRITER)
        yield found


@pytest.fixture
def login(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Goes on as another user."""
    return lambda token: connect(monkeypatch, hub.url, tmp_path / "hf", token)


def line(call: Callable[[], object], kind: type[Exception] = UserError) -> str:
    """The one line that a user gets."""
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def downloads(hub: Hub) -> int:
    return sum(entry.startswith("GET /large/") for entry in hub.asked)


# There and back


def test_push_then_pull(hub: Hub, module: Path) -> None:
    done = push(module, REPO, backbone=BACKBONE)
    assert done.commit == hub.repos[REPO].branches["main"]
    assert not hub.repos[REPO].private
    assert any(entry.startswith("PUT /large/") for entry in hub.asked)  # LFS
    found = pull(REPO)
    assert found.path.name == done.commit
    assert found.record.hub == f"{REPO}@{done.commit}"
    found.record.verify(found.path)
    assert (found.path / WEIGHTS).read_bytes() == (module / WEIGHTS).read_bytes()
    assert not any(path.is_symlink() for path in found.path.rglob("*"))
    before = downloads(hub)
    assert pull(REPO).path == pull(f"{REPO}@{done.commit}").path == found.path
    assert downloads(hub) == before


def test_what_is_pushed_says_nothing_of_this_machine(
    hub: Hub, module: Path, tmp_path: Path, tiny_xlmr: Path
) -> None:
    record = ModuleRecord.read(module)
    bases = {"squad": {"run": "a" * 16, "path": str(tmp_path / "squad")}}
    data = {**record.data, "train": {**record.data["train"], "origin": "/home/ann/data"}}
    dataclasses.replace(record, data=data, bases=bases).write(module)
    push(module, REPO, backbone=BACKBONE)
    texts = [content for name, content in hub.files(REPO).items() if name.endswith((".json", "md"))]
    assert len(texts) >= 5
    for place in (str(tmp_path), str(tiny_xlmr.parent), "/home/ann"):
        hidden = [text for text in texts if place.encode() in text]
        # `adapters` itself writes the backbone's place into its configuration files.
        assert all(b'"model_name"' in text for text in hidden)


def test_card_on_the_hub_names_the_repository(hub: Hub, module: Path) -> None:
    push(module, REPO, backbone=BACKBONE)
    card = hub.files(REPO)["README.md"].decode()
    assert f'load("{REPO}")' in card
    assert f'load_adapter("{REPO}"' in card
    assert f'PeftModel.from_pretrained(base, "{REPO}", subfolder="peft")' in card
    assert "PATH_OF_THIS_FOLDER" not in card
    assert f"base_model: {BACKBONE}" in card


def test_push_again_sends_no_weights_again(hub: Hub, module: Path) -> None:
    first = push(module, REPO, backbone=BACKBONE)
    sent = len([entry for entry in hub.asked if entry.startswith("PUT")])
    (module / "README.md").write_text("changed")
    ModuleRecord.read(module).write(module)
    second = push(module, REPO, backbone=BACKBONE)
    assert sent == len([entry for entry in hub.asked if entry.startswith("PUT")])
    assert hub.files(REPO, first.commit).keys() == hub.files(REPO, second.commit).keys()


def test_private_and_branch(hub: Hub, module: Path, login: Callable[[str], None]) -> None:
    push(module, REPO, backbone=BACKBONE, private=True, branch="trial")
    assert hub.repos[REPO].private
    assert WEIGHTS not in hub.files(REPO)
    assert pull(f"{REPO}@trial").record.name == "mnli-lora"
    login(READER)
    assert "private" in line(lambda: pull(f"{REPO}@main"))


def test_wherever_a_module_is_named_a_hub_id_works(hub: Hub, saved: Path) -> None:
    commit = hub.add(REPO, files_of(saved))
    folder = find_module(REPO)
    assert find_module(f"{REPO}@{commit}") == find_module(f"{REPO}@main") == folder
    found = resolve(f"{REPO}@main")
    assert found.record.name == "mnli-lora"
    # What is trained on top of it records which commit it was.
    assert found.bases["mnli-lora"]["hub"] == f"{REPO}@{commit}"


def test_what_it_stands_on_is_pulled_too(hub: Hub, saved: Path, zoo: Path) -> None:
    commit = hub.add("someone/base", files_of(saved))
    record = ModuleRecord.read(saved)
    above = Path(shutil.copytree(saved, zoo / "tiny" / "above"))
    base = {"run": record.run, "path": "", "hub": f"someone/base@{commit}"}
    dataclasses.replace(
        record,
        name="above",
        run="e" * 16,
        composition="stack(mnli-lora, above)",
        bases={"mnli-lora": base},
    ).write(above)
    assert resolve("above").modules["mnli-lora"].record.hub == base["hub"]


def test_new_commits_are_found_and_old_ones_stay(hub: Hub, saved: Path, module: Path) -> None:
    first = hub.add(REPO, files_of(saved))
    assert pull(REPO).path.name == first
    dataclasses.replace(ModuleRecord.read(module), steps=11).write(module)
    second = hub.add(REPO, files_of(module))
    assert pull(REPO).record.steps == 11
    assert pull(f"{REPO}@{first}").record.steps == 10
    assert second != first


def test_search(hub: Hub, module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(module, REPO, backbone="xlm-roberta-large")
    push(module, "someone/other", backbone=BACKBONE)
    hub.add("someone/else-mnli", {"README.md": b"---\ntags: [adapters]\n---\n"})
    (hit,) = search("mnli")
    assert (hit.repo, hit.task, hit.method) == (REPO, "mnli", "lora")
    assert (hit.backbone, hit.downloads, hit.updated) == (
        "FacebookAI/xlm-roberta-large",
        7,
        "2025-01-02",
    )
    assert {each.repo for each in search(task="mnli", language="en")} == {REPO, "someone/other"}
    assert [each.repo for each in search(backbone="xlm-roberta-large")] == [REPO]
    assert [each.repo for each in search("else", anybody=True)] == ["someone/else-mnli"]
    assert search(backbone="embedded") == []


# What goes wrong on the way


def test_busy_hub_is_given_the_pause_it_asks_for(
    hub: Hub, saved: Path, waited: list[float]
) -> None:
    hub.add(REPO, files_of(saved))
    hub.faults += [
        Fault("/api/models/", status=429, headers={"Retry-After": "7"}),
        Fault(f"resolve/{hub.repos[REPO].branches['main']}/{WEIGHTS}", "HEAD", status=429),
    ]
    assert pull(REPO).record.name == "mnli-lora"
    assert 7.0 in waited


def test_busy_for_too_long(hub: Hub, saved: Path, waited: list[float]) -> None:
    hub.add(REPO, files_of(saved))
    hub.faults.append(Fault("/api/models/", status=429, times=99))
    assert "longer pause" in line(lambda: pull(REPO), FailureError)
    assert len(waited) == ATTEMPTS - 1
    hub.faults[:] = [Fault("/api/models/", status=429, headers={"Retry-After": "9999"})]
    assert "longer pause" in line(lambda: pull(REPO), FailureError)
    assert len(waited) == ATTEMPTS - 1


def test_connection_cut_in_mid_file(hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)
    hub.add(REPO, files_of(saved))
    hub.faults.append(Fault("/large/", cut=1000, times=2))
    found = pull(REPO)
    found.record.verify(found.path)
    # It went on where it was cut, the second time too.
    assert hub.ranges[:2] == ["bytes=1000-", "bytes=2000-"]


def test_a_pull_that_failed_is_resumed(
    hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)
    hub.add(REPO, files_of(saved))
    hub.faults.append(Fault("/large/", cut=500, times=ATTEMPTS))
    assert "cannot be reached" in line(lambda: pull(REPO))
    hub.ranges.clear()
    found = pull(REPO)
    found.record.verify(found.path)
    assert hub.ranges == [f"bytes={500 * ATTEMPTS}-"]


def test_damaged_download_is_fetched_once_more(hub: Hub, saved: Path) -> None:
    hub.add(REPO, files_of(saved))
    hub.faults += [Fault("/large/", spoil=True), Fault("/head_config.json", spoil=True)]
    found = pull(REPO)
    found.record.verify(found.path)


@pytest.mark.parametrize("where", ["/large/", "/head_config.json"])
def test_damaged_twice(hub: Hub, saved: Path, tmp_path: Path, where: str) -> None:
    hub.add(REPO, files_of(saved))
    hub.faults.append(Fault(where, spoil=True, times=99))
    assert "arrived damaged twice" in line(lambda: pull(REPO), FailureError)
    pulled = list((tmp_path / "pulled").glob("*/*/*"))
    assert not [path for path in pulled if path.name == RECORD]
    hub.faults.clear()
    assert pull(REPO).record.name == "mnli-lora"  # nothing damaged was kept


def test_disk_full(hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, files_of(saved))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage())
    assert "disk full" in line(lambda: pull(REPO), FailureError)
    monkeypatch.undo()


class _Usage:
    free = 1000


def test_disk_full_in_mid_copy(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files_of(saved))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("adapter_stilts.zoo.pull.shutil.copyfile", fail)
        assert "disk full" in line(lambda: pull(REPO), FailureError)
    assert not list((tmp_path / "pulled").rglob(RECORD))
    assert pull(REPO).record.name == "mnli-lora"


def test_offline_takes_what_is_here(
    hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.add(REPO, files_of(saved))
    here = pull(REPO).path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    configure_http_backend()
    before = len(hub.asked)
    assert pull(REPO).path == here
    assert "HF_HUB_OFFLINE" in line(lambda: pull("someone/else"))
    shutil.rmtree(tmp_path / "pulled")  # what remains is the library's own cache
    assert pull(REPO).record.name == "mnli-lora"
    assert len(hub.asked) == before
    connect(monkeypatch, "http://127.0.0.1:9", tmp_path / "hf")
    assert pull(REPO).path == here  # no Hub answers
    assert "cannot be reached" in line(lambda: pull("someone/else"))


# What is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("someone/nowhere", ("'someone/nowhere'", "log in")),
        (f"{REPO}@v9", ("has no revision 'v9'",)),
        ("squad", ("is no id of the Hub",)),
        ("a/b/c", ("is no id of the Hub",)),
        ("../secret", ("is no id of the Hub",)),
        ("a/..", ("is no id of the Hub",)),
        (f"{REPO}@../../x", ("is no id of the Hub",)),
        ("C:/module", ("is no id of the Hub",)),
    ],
)
def test_not_there(hub: Hub, saved: Path, name: str, words: tuple[str, ...]) -> None:
    hub.add(REPO, files_of(saved))
    said = line(lambda: pull(name))
    assert all(word in said for word in words), said


@pytest.mark.parametrize("folder", ["./mine", "/tmp/mine", "~/mine", "../mine"])
def test_a_folder_is_no_place_to_push_to(module: Path, folder: str) -> None:
    said = line(lambda: push(module, folder, backbone=BACKBONE))
    assert folder in said and "zoo export" in said


def test_status_401_and_403(hub: Hub, module: Path, login: Callable[[str], None]) -> None:
    for token, status in (("", 401), (READER, 403)):
        login(token)
        said = line(lambda: push(module, REPO, backbone=BACKBONE))
        assert "no write access" in said and f"status {status}" in said
    assert REPO not in hub.repos


NONSENSE = [
    b"",
    b"<html>",
    b"[]",
    b"null",
    b"[" * 100_000,
    b"{}",
    b'{"id": "a/b", "sha": "../../x"}',
    b'{"id": "a/b", "sha": 7, "siblings": 3}',
    b'{"id": "a/b", "sha": "' + b"a" * 40 + b'", "siblings": [{"rfilename": 7}]}',
    b'{"id": "a/b", "sha": "' + b"a" * 40 + b'", "siblings": [{"rfilename": "x", "size": "y"}]}',
    b'{"id": "a/b", "sha": "' + b"a" * 40 + b'", "siblings": [{"rfilename": "x", "lfs": {}}]}',
    b'{"id": "a/b", "sha": "' + b"a" * 40 + b'", "lastModified": "yesterday"}',
]


@pytest.mark.parametrize("body", NONSENSE)
def test_answers_that_are_of_no_use(hub: Hub, body: bytes) -> None:
    hub.faults.append(Fault("/api/models", status=200, body=body, times=99))
    with pytest.raises((UserError, FailureError)) as caught:
        pull(REPO)
    assert "\n" not in str(caught.value)
    try:
        assert search("x") == []
    except (UserError, FailureError) as error:
        assert "\n" not in str(error)


def test_proxies_are_used(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files_of(saved))
    connect(monkeypatch, "http://hub.invalid", tmp_path / "hf")
    monkeypatch.setenv("http_proxy", hub.url)
    monkeypatch.setenv("no_proxy", "")
    assert pull(REPO).record.name == "mnli-lora"
    assert hub.asked[0].startswith("GET http://hub.invalid/api/models/")


def test_only_pickles(hub: Hub) -> None:
    hub.add(REPO, {"adapter_config.json": b"{}", "pytorch_adapter.bin": b"\x80\x04"})
    said = line(lambda: pull(REPO))
    assert "offers only pickles (pytorch_adapter.bin)" in said
    assert not any("resolve" in entry for entry in hub.asked)


def test_no_module(hub: Hub) -> None:
    hub.add(REPO, {"config.json": b"{}", "model.safetensors": b""})
    assert "has no module" in line(lambda: pull(REPO))


def test_too_large(hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {**files_of(saved), "big.json": b" " * (5 << 20)})
    assert "big.json has 5,242,880 bytes" in line(lambda: pull(REPO))
    monkeypatch.setenv("ADSTILTS_MAX_PULL_MB", "0")
    hub.add(REPO, files_of(saved))
    assert "ADSTILTS_MAX_PULL_MB" in line(lambda: pull(REPO))
    assert not any("resolve" in entry for entry in hub.asked)


def test_hostile_file_names(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hostile = ["../evil.json", "/evil.json", "a/../../evil.json", "C:\\evil.json", "con.json"]
    more = dict.fromkeys((*hostile, "evil.py", "pytorch_adapter.bin", ".git/config"), b"{}")
    hub.add(REPO, {**files_of(saved), **more})
    found = pull(REPO)
    assert {path.relative_to(found.path).as_posix() for path in found.path.rglob("*.*")} == set(
        files_of(saved)
    )
    assert not list(tmp_path.rglob("evil*"))


def test_record_that_does_not_fit_its_files(hub: Hub, saved: Path) -> None:
    files = files_of(saved)
    files["head_config.json"] += b" "
    hub.add(REPO, files)
    said = line(lambda: pull(REPO))
    assert said.startswith(f"{REPO}/head_config.json is damaged")


def test_name_taken_by_another_kind(hub: Hub, module: Path) -> None:
    hub.add(REPO, {"config.json": b"{}", "model.safetensors": b"x"})
    said = line(lambda: push(module, REPO, backbone=BACKBONE))
    assert "holds something else (model.safetensors)" in said
    hub.add(REPO, {RECORD: json.dumps({"name": "squad", "method": "bottleneck"}).encode()})
    assert "holds another module (squad bottleneck" in line(
        lambda: push(module, REPO, backbone=BACKBONE)
    )
    push(module, REPO, backbone=BACKBONE, overwrite=True)
    assert "model.safetensors" not in hub.files(REPO)


def test_backbone_in_a_folder_is_not_shared(hub: Hub, module: Path, tiny_xlmr: Path) -> None:
    said = line(lambda: push(module, REPO))
    assert str(tiny_xlmr) in said and "--backbone" in said


def test_damaged_module_is_not_shared(hub: Hub, module: Path) -> None:
    (module / "head_config.json").write_bytes(b"{}")
    line(lambda: push(module, REPO, backbone=BACKBONE))
    assert not hub.repos


def test_another_backbone_says_which(hub: Hub, module: Path) -> None:
    record = ModuleRecord.read(module)
    own = {**record.backbone, "name": "xlm-roberta-base", "revision": "c" * 40}
    dataclasses.replace(record, backbone=own).write(module)
    hub.add(REPO, files_of(module))
    for wanted in ("xlm-roberta-large", f"xlm-roberta-base@{'d' * 40}"):
        said = line(partial(pull, REPO, backbone=wanted))
        assert all(word in said for word in ("'xlm-roberta-base'", "c" * 40, wanted))
    assert pull(REPO, backbone="FacebookAI/xlm-roberta-base").record.name == "mnli-lora"


def test_out_is_not_overwritten(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.add(REPO, files_of(saved))
    out = tmp_path / "out"
    assert pull(REPO, out=out).path == out
    assert pull(REPO, out=out).record.name == "mnli-lora"  # the same one
    dataclasses.replace(ModuleRecord.read(out), run="b" * 16).write(out)
    assert "another module lies at" in line(lambda: pull(REPO, out=out))
    (out / RECORD).unlink()
    assert "is not empty" in line(lambda: pull(REPO, out=out))
    assert pull(REPO, out=out, overwrite=True).path == out


# Processes


def test_two_processes_pull_the_same(hub: Hub, saved: Path, tmp_path: Path) -> None:
    commit = hub.add(REPO, files_of(saved))
    other = begin(pull_there, hub.url, tmp_path / "cache", tmp_path / "path.txt")
    while not hub.asked and other.is_alive():
        time.sleep(0.001)
    mine = pull(REPO)
    assert end(other) == 0
    theirs = Path((tmp_path / "path.txt").read_text("utf-8"))
    assert theirs == mine.path == HubId.parse(REPO).folder / commit
    assert [each for each in mine.path.parent.iterdir() if each.name[0] != "."] == [mine.path]
    mine.record.verify(mine.path)


def test_two_processes_push_the_same(hub: Hub, module: Path, tmp_path: Path) -> None:
    hub.commit_takes = 0.3
    both = [
        begin(push_there, hub.url, tmp_path / f"cache-{n}", WRITER, module, BACKBONE, tmp_path / n)
        for n in "ab"
    ]
    assert [end(process) for process in both] == [0, 0]
    said = [(tmp_path / n).read_text("utf-8") for n in "ab"]
    assert set(said) <= hub.repos[REPO].commits.keys() and len(set(said)) == 2, said
    pull(REPO).record.verify(pull(REPO).path)


@pytest.mark.parametrize("status", [409, 412])
def test_push_waits_for_the_commit_of_another(
    hub: Hub, module: Path, status: int, waited: list[float]
) -> None:
    hub.faults.append(Fault("/commit/", "POST", times=2, status=status))
    push(module, REPO, backbone=BACKBONE)
    assert len(waited) == 2
    pull(REPO).record.verify(pull(REPO).path)


def test_push_gives_up_where_others_never_stop(hub: Hub, module: Path) -> None:
    hub.faults.append(Fault("/commit/", "POST", times=99, status=412))
    said = line(lambda: push(module, REPO, backbone=BACKBONE), FailureError)
    assert "others are writing" in said and "try again" in said


def test_a_process_keeps_to_the_cache_that_the_environment_names(
    hub: Hub, saved: Path, tmp_path: Path
) -> None:
    hub.add(REPO, files_of(saved))
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", f"from adapter_stilts import pull; pull('{REPO}')"],
        env={**environment, "HF_ENDPOINT": hub.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home" / "hub").is_dir()


def test_engine_takes_what_was_pulled(
    hub: Hub, saved: Path, tiny_engine: Engine, tiny_xlmr: Path
) -> None:
    from adapter_stilts.zoo.local import load_composition
    from made_modules import make_engine

    hub.add(REPO, files_of(saved))
    composed = load_composition(make_engine(str(tiny_xlmr)), REPO)
    assert composed.record and composed.record.hub.startswith(REPO)
