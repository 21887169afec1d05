"""What a hostile or broken Hub answers is refused, whoever asked, and ends in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapter_stilts import pull, push
from adapter_stilts.backbones import download_backbone
from adapter_stilts.engine.engine import Engine
from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.hub import guard
from adapter_stilts.hub.client import ATTEMPTS
from adapter_stilts.zoo.pull import search
from hub_kit import REPO, connect, files_of
from made_modules import make_engine, save_made
from writable_hub import WRITER, Fault, Hub, serving

Call = Callable[[], object]
BACKBONE = "tiny/plain"


@pytest.fixture(scope="module")
def engine(tiny_xlmr: Path) -> Engine:
    return make_engine(str(tiny_xlmr))


@pytest.fixture(scope="module")
def module(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "squad"
    save_made(engine, "squad", "bottleneck", "span", folder)
    return folder


@pytest.fixture
def hub(
    tmp_path: Path, zoo: Path, module: Path, tiny_xlmr: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A Hub with a module and a backbone; no pause is made in earnest."""
    monkeypatch.setattr("adapter_stilts.hub.client.time.sleep", lambda _: None)
    with serving() as found:
        connect(monkeypatch, found.url, tmp_path / "deep" / "hf", WRITER)
        found.add(REPO, files_of(module))
        found.add(BACKBONE, files_of(tiny_xlmr))
        yield found


@pytest.fixture(params=["pull", "backbone", "push"])
def ask(request: pytest.FixtureRequest, module: Path) -> Call:
    """Each way to a file of the Hub."""
    calls: dict[str, Call] = {
        "pull": lambda: pull(REPO),
        "backbone": lambda: download_backbone(BACKBONE),
        "push": lambda: push(module, REPO, backbone=BACKBONE),
    }
    return calls[request.param]


def line(call: Call) -> str:
    """The one line that a user gets."""
    with pytest.raises((UserError, FailureError)) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Repo-Commit"])
@pytest.mark.parametrize(
    "value",
    ["{top}/outside", '"{top}/outside"', '"../../../../outside"', 'W/"..\\outside"', "a" * 39],
)
def test_a_name_that_is_no_hash(
    hub: Hub, ask: Call, tmp_path: Path, header: str, value: str
) -> None:
    hub.is_large = r".*\.none"
    replaced = {header: value.replace("{top}", str(tmp_path))}
    hub.faults.append(Fault("/resolve/", "HEAD", times=99, replaced=replaced))
    said = line(ask)
    assert header in said or "no commit" in said
    assert "cannot be reached" not in said
    assert not list(tmp_path.rglob("outside*"))
    hub.faults.clear()
    ask()


def test_answers_of_the_usual_kind_pass(hub: Hub, ask: Call) -> None:
    """The Hub gives "not found" and notes of another path ETags that are no hashes."""
    weak = {"ETag": 'W/"f-mY2VvLxuxB7KhsoOdQTlMTccuAQ"'}
    missing = {**weak, "X-Error-Code": "EntryNotFound"}
    hub.faults.append(Fault("/special_tokens_map.json", "HEAD", status=404, headers=missing))
    commit = hub.repos[REPO].branches["main"]
    for place in (f"/{BACKBONE}/resolve/main/config.json", f"/{REPO}/resolve/{commit}/module.json"):
        elsewhere = {**weak, "Location": place}
        hub.faults.append(Fault(place, "HEAD", status=307, headers=elsewhere))
    ask()


def test_5xx_is_repeated_once_over(hub: Hub, ask: Call) -> None:
    hub.faults.append(Fault("/resolve/", "HEAD", times=99, status=503))
    assert "status 503" in line(ask)
    assert len([each for each in hub.asked if each.startswith("HEAD")]) == ATTEMPTS


def test_a_line_that_is_cut_is_repeated_once_over(hub: Hub, ask: Call) -> None:
    hub.is_large = r".*\.none"
    hub.faults.append(Fault("/resolve/", times=99, cut=1))
    line(ask)
    assert len([each for each in hub.asked if "GET" in each and "/resolve/" in each]) == ATTEMPTS


@pytest.mark.parametrize("where", ["/api/models/", "/resolve/"])
def test_a_drip_ends(
    hub: Hub, ask: Call, where: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(guard, "PIECE_SECONDS", 0.5)
    if "backbone" in request.node.name and where.startswith("/api"):
        pytest.skip("no list is asked for")
    hub.is_large = r".*\.none"
    hub.faults.append(Fault(where, times=99, drip=0.1))
    begun = time.monotonic()
    assert "slowly" in line(ask)
    assert time.monotonic() - begun < 60  # it would drip for ever


def test_headers_that_drip_end(hub: Hub, ask: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ANSWER_SECONDS", 0.5)
    send = "writable_hub.Handler.send_response"

    def slow(handler: object, status: int) -> None:
        threading.Event().wait(60)

    monkeypatch.setattr(send, slow)
    begun = time.monotonic()
    assert "has not answered" in line(ask)
    assert time.monotonic() - begun < 50


@pytest.mark.parametrize("fault", [{"more": 1000}, {"endless": True}])
def test_more_than_was_promised(hub: Hub, ask: Call, fault: dict[str, int]) -> None:
    hub.is_large = r".*\.none"
    hub.faults.append(Fault("/resolve/", times=99, **fault))  # type: ignore[arg-type]
    assert "wrong length" in line(ask)


def test_a_list_without_end(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_ANSWER", 1 << 20)
    hub.faults.append(Fault("/api/models", times=99, endless=True))
    assert "wrong length" in line(lambda: pull(REPO))
    assert "wrong length" in line(lambda: search("x"))


def test_pages_without_end(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_REQUESTS", 20)
    next_ = {"Link": f'<{hub.url}/api/models?cursor=1>; rel="next"'}
    hub.faults.append(Fault("/api/models", status=200, body=b"[]", headers=next_, times=9999))
    assert "do not end" in line(lambda: search("x"))


def test_what_is_wrong_is_named(hub: Hub) -> None:
    hub.faults.append(Fault("/api/models", status=200, body=b'{"id": ', times=99))
    assert "broken JSON" in line(lambda: pull(REPO))
    assert "broken JSON" in line(lambda: search("x"))
    hub.faults[:] = [Fault("/large/", spoil=True, times=99)]
    assert "hash" in line(lambda: pull(REPO))
    assert "hash" in line(lambda: download_backbone(BACKBONE))
    hub.faults[:] = [Fault("/resolve/", "HEAD", replaced={"X-Linked-Size": "7"}, times=99)]
    assert "wrong length" in line(lambda: pull(REPO))


@pytest.mark.parametrize(
    "index",
    [
        b"{",
        b"[]",
        b'{"weight_map": {"a": "../../../secret.safetensors"}}',
        b'{"weight_map": {"a": "/etc/secret.safetensors"}}',
        b'{"weight_map": {"a": "model.bin"}}',
        b'{"weight_map": {"a": 7}}',
    ],
)
def test_an_index_that_names_other_things(hub: Hub, index: bytes, tiny_xlmr: Path) -> None:
    files = {**files_of(tiny_xlmr), "model.safetensors.index.json": index}
    del files["model.safetensors"]
    hub.add(BACKBONE, files)
    assert "model.safetensors.index.json" in line(lambda: download_backbone(BACKBONE))
