"""Clients that stall, names that are not ours, and modules that cannot be shown."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from fastapi.testclient import TestClient

from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.limits import Hosts
from adapter_stilts.serving.pool import ModulePool, stock
from serving_kit import running

ROW = {"module": "squad", "question": "Who?", "context": "Ann went to Rome."}
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def asked(port: int) -> Any:
    """What the service says to a whole request."""
    request = Request(
        f"http://127.0.0.1:{port}/predict",
        data=json.dumps(ROW).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=20) as response:
        return json.load(response)


def connected(port: int, sent: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(sent)
    return client


def ended(client: socket.socket) -> bytes:
    """What comes until the service closes the connection."""
    found = b""
    try:
        while piece := client.recv(65_536):
            found += piece
    except ConnectionResetError:
        pass
    return found


HALVES = [
    b"",
    b"POST /pre",
    HEAD,
    HEAD + b"Content-Length: 99\r\n\r\n{",
    b"GET /health HTTP/1.1\r\n",
]


@pytest.mark.parametrize("half", HALVES)
def test_half_a_request_ends(pool: ModulePool, half: bytes) -> None:
    with running(pool, header_seconds=0.5, body_seconds=0.5) as port:
        begun = time.monotonic()
        with connected(port, half) as client:
            assert ended(client)[:12] in (b"", b"HTTP/1.1 408")
        assert time.monotonic() - begun < 20


def test_half_of_a_second_request_ends(pool: ModulePool) -> None:
    with running(pool, header_seconds=0.5) as port:
        begun = time.monotonic()
        with connected(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            client.sendall(b"GET /hea")
            ended(client)
        assert time.monotonic() - begun < 20


def test_a_head_byte_by_byte_ends(pool: ModulePool) -> None:
    with running(pool, header_seconds=0.5) as port, connected(port, b"GET / HTTP/1.1\r\nX: ") as c:
        begun = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):
            while time.monotonic() - begun < 30:
                c.sendall(b"a")
                time.sleep(0.05)


@pytest.mark.parametrize("half", HALVES)
def test_those_who_stall_keep_nobody_out(pool: ModulePool, half: bytes) -> None:
    limits = {"header_seconds": 60.0, "body_seconds": 60.0, "concurrency": 2}
    with running(pool, max_connections=8, **limits) as port, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(port, half))
        assert asked(port)["answer"]


def test_answers_that_nobody_reads(pool: ModulePool) -> None:
    body = json.dumps({"inputs": [{**ROW, "id": "x" * 3000}] * 64}).encode()
    ask = HEAD.replace(b"/predict", b"/predict/batch") + b"Content-Length: %d\r\n\r\n" % len(body)
    with running(pool, body_seconds=1.0, concurrency=1) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.settimeout(0.05)
        try:
            for _ in range(40):
                client.sendall(ask + body)
        except TimeoutError:
            pass
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                assert asked(port)["answer"]
                break
            except OSError:  # 429: its slot is not free yet
                time.sleep(0.2)
        else:
            pytest.fail("a client that does not read holds the only place")


def test_names_that_it_is_called_by(pool: ModulePool) -> None:
    app = create_app(pool, hosts=Hosts(["demo.example", "*.lan"]))
    good = [
        "localhost",
        "127.0.0.1:8000",
        "[::1]:8000",
        "192.168.1.7",
        "Demo.Example:443",
        "a.b.lan",
    ]
    bad = ["evil.example", "demo.example.evil.example", "lan", "127.0.0.1.evil.example", "", "a@b"]
    with TestClient(app) as client:
        for host in good:
            assert client.get("/health", headers={"Host": host}).status_code == 200, host
        for host in bad:
            response = client.post("/predict", json=ROW, headers={"Host": host})
            assert response.status_code == 403, host
            assert "--allow-host" in response.json()["error"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", 200),
        ("https://demo.example", 200),
        ("http://evil.example", 403),
        ("http://localhost:9000", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_sites(pool: ModulePool, origin: str, status: int) -> None:
    headers = {"Host": "localhost:8000", "Origin": origin}
    with TestClient(create_app(pool, hosts=Hosts(["demo.example"]))) as client:
        assert client.post("/predict", json=ROW, headers=headers).status_code == status


Change = Callable[[dict[str, Any]], Any]
CHANGES: dict[str, Change] = {
    "unknown-head": lambda record: record.update(head="oracle"),
    "choices-of-no-task": lambda record: record.update(head="choice", task="nothing"),
    "scores-that-are-texts": lambda record: record.update(scores={"f1": "high"}),
    "no-backbone": lambda record: record.update(backbone={}),
    "backbone-is-a-list": lambda record: record.update(backbone=["tiny"]),
    "data-is-null": lambda record: record.update(data=None),
    "task-is-a-number": lambda record: record.update(task=7),
    "heads-are-numbers": lambda record: record.update(heads=[1, 2]),
    "composition-is-broken": lambda record: record.update(composition="stack(("),
    "parameters-are-texts": lambda record: record.update(parameters="many"),
    "half-a-surrogate": lambda record: record.update(method="\ud800"),
}


def test_bad_modules_are_left_out(
    made_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    (squad,) = made_zoo.glob("*/squad")
    zoo = tmp_path / "zoo"
    shutil.copytree(squad, zoo / "tiny" / "squad")
    for name, change in CHANGES.items():
        folder = Path(shutil.copytree(squad, zoo / "tiny" / name))
        record = json.loads((folder / "module.json").read_text())
        record["run"] = f"{len(name):016d}"
        change(record)
        (folder / "module.json").write_text(json.dumps(record))
    broken = {"no-json": "{", "no-record": "[]", "empty": "", "infinite": '{"steps": Infinity}'}
    for name, text in broken.items():
        folder = Path(shutil.copytree(squad, zoo / "tiny" / name))
        (folder / "module.json").write_text(text)
    monkeypatch.setenv("ADSTILTS_ZOO", str(zoo))
    with caplog.at_level(logging.WARNING):
        pool = stock([], backbone=None, zoo=True, most=5, precision="fp32")
    with TestClient(create_app(pool)) as client:
        response = client.get("/modules")
        assert response.status_code == 200
        names = {each["name"] for each in response.json()["modules"]}
        assert "squad" in names
        assert client.post("/predict", json=ROW).status_code == 200
    for name in {*CHANGES, *broken} - names:
        assert name in caplog.text
    assert not names & {*broken, "unknown-head", "half-a-surrogate", "scores-that-are-texts"}
