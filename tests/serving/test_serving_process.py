"""The service as a process: a client that leaves, one that hangs, a signal to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from made_modules import make_engine, save_made

ROW = {"module": "squad", "question": "Who?", "context": "Ann went to Rome."}


class Service:
    """A running `adstilts serve`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        self.first = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.first)
        assert found, self.first + process.stderr.read()
        self.port = int(found[1])

    def ask(self, path: str = "/predict", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.port}{path}", data)
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    def begin(self, *, whole: bool = True) -> socket.socket:
        """A connection on which a request, or half of one, has been sent."""
        body = json.dumps(ROW).encode()
        head = (
            "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        client = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(head.encode() + (body if whole else body[:5]))
        return client


@pytest.fixture
def service(tiny_xlmr: Path, tmp_path: Path) -> Iterator[Service]:
    engine = make_engine(str(tiny_xlmr))
    save_made(engine, "squad", "bottleneck", "span", tmp_path / "zoo" / "tiny" / "squad")
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter_stilts", "serve", "--port", "0", "--gather", "700"],
        env={**os.environ, "ADSTILTS_ZOO": str(tmp_path / "zoo")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Service(process)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_a_service_from_start_to_stop(service: Service) -> None:
    assert "1 module (squad)" in service.first
    assert service.ask(body=ROW)["answer"]["answer"]
    # Clients that leave: in mid-answer, in mid-request, and by resetting the connection.
    service.begin().close()
    service.begin(whole=False).close()
    abrupt = service.begin()
    abrupt.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    abrupt.close()
    assert service.ask(body=ROW)["answer"]["answer"]
    assert service.ask("/health")["waiting"] == 0
    # A body without end, and one that would be: refused with a reason, not stored.
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    for head, body in (
        (b"Transfer-Encoding: chunked", chunk * 30 + b"0\r\n\r\n"),
        (b"Content-Length: 99999999999", b""),
    ):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n" + body
            )
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 413") and b"connection: close" in answer.lower()
    # Told to stop while a request is at work: it is answered, new ones are not taken.
    with ThreadPoolExecutor(1) as threads:
        last = threads.submit(service.ask, "/predict", ROW)
        while not service.ask("/health")["waiting"] and not last.done():
            time.sleep(0.01)
        assert not last.done()
        service.process.send_signal(signal.SIGTERM)
        assert last.result()["answer"]["answer"]
    assert service.process.wait(timeout=30) == 0
    assert service.process.stderr is not None
    assert "Traceback" not in service.process.stderr.read()
    with pytest.raises(OSError, match="refused"):
        service.begin()
