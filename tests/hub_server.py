"""As much of the Hub as `datasets` and `hf_hub_download` ask for, on the loopback interface."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = {COMMIT, "main", "refs/convert/parquet"}


Change = Callable[[str, bytes, dict[str, str]], tuple[bytes, dict[str, str]]]
"""What becomes of an answer: of the path, its content and its headers."""


class HubHandler(BaseHTTPRequestHandler):
    """The repositories `<namespace>/<name>` below `root`, all at one commit.

    One with a file `GATED` hands out what it is, but no files. `asked` gathers the requests.
    """

    root: Path
    asked: list[str]
    change: Change = staticmethod(lambda path, content, headers: (content, headers))
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self.asked.append(f"{self.command} {self.path}")

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "api":
            self._about("/".join(parts[2:4]), parts[4:])
        else:
            # Data sets lie below /datasets, models at the top.
            parts = parts[1:] if parts[0] == "datasets" else parts
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _about(self, repo: str, asked: list[str]) -> None:
        if not (self.root / repo).is_dir():
            self._missing("RepoNotFound")
        elif asked and asked[1] not in REVISIONS:
            self._missing("RevisionNotFound")
        elif asked and asked[0] == "tree":
            below = "".join(f"{part}/" for part in asked[2:])
            entries = [each for each in self._tree(repo) if str(each["path"]).startswith(below)]
            self._send(200, json.dumps(entries).encode(), {})
        else:
            siblings = [
                {"rfilename": each["path"], "size": each["size"], "blobId": each["oid"]}
                for each in self._tree(repo)
                if each["type"] == "file"
            ]
            about = {"id": repo, "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(about).encode(), {})

    def _tree(self, repo: str) -> list[dict[str, object]]:
        top = self.root / repo
        return [
            {
                "type": "directory" if path.is_dir() else "file",
                "path": path.relative_to(top).as_posix(),
                "oid": "0" * 40 if path.is_dir() else _sha1(path),
                "size": 0 if path.is_dir() else path.stat().st_size,
            }
            for path in sorted(top.rglob("*"))
        ]

    def _file(self, repo: str, revision: str, name: str) -> None:
        path = self.root / repo / name
        if not (self.root / repo).is_dir():
            self._missing("RepoNotFound")
        elif (self.root / repo / "GATED").is_file():
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif revision not in REVISIONS:
            self._missing("RevisionNotFound")
        elif not path.is_file():
            self._missing("EntryNotFound")
        else:
            self._send(200, path.read_bytes(), {"ETag": f'"{_sha1(path)}"'})

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        content, headers = self.change(
            self.path, content, {"X-Repo-Commit": COMMIT, "Status": str(status), **headers}
        )
        self.send_response(int(headers.pop("Status")))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _sha1(path: Path) -> str:
    """What git calls it, as the Hub does."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def serve(root: Path, change: Change | None = None) -> tuple[ThreadingHTTPServer, list[str]]:
    """A server on a free port, which the caller runs and closes, and what it has been asked."""
    asked: list[str] = []
    members: dict[str, object] = {"root": root, "asked": asked}
    if change is not None:
        members["change"] = staticmethod(change)
    handler = type("Handler", (HubHandler,), members)
    return ThreadingHTTPServer(("127.0.0.1", 0), handler), asked


@contextmanager
def serving(root: Path, change: Change | None = None) -> Iterator[tuple[str, list[str]]]:
    """A running server: its address, and what it has been asked."""
    server, asked = serve(root, change)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
