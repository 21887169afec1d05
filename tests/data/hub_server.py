"""As much of the Hub as `datasets.load_dataset` asks for, on the loopback interface.

Run as a script it serves the folder given (`<namespace>/<name>/<files>`) at one commit, and
prints its port. What it was asked stands in its standard error.
"""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubHandler(BaseHTTPRequestHandler):
    """Data set information, trees and files of the repositories below `root`."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = self.rfile.read(length).decode()
        paths = [unquote(part.split("=", 1)[1]) for part in asked.split("&") if "paths" in part]
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(asked)["paths"]
        repo = self.path.split("/api/datasets/")[1].split("/paths-info/")[0]
        entries = [entry for entry in self._tree(repo) if entry["path"] in paths]
        self._send(200, json.dumps(entries).encode(), {}, body=True)

    def _tree(self, repo: str) -> list[dict[str, object]]:
        top = self.root / repo
        entries: list[dict[str, object]] = []
        for path in sorted(top.rglob("*")):
            name = path.relative_to(top).as_posix()
            if path.is_dir():
                entries.append({"type": "directory", "path": name, "oid": "0" * 40, "size": 0})
            else:
                oid = hashlib.sha1(path.read_bytes()).hexdigest()
                size = path.stat().st_size
                entries.append({"type": "file", "path": name, "oid": oid, "size": size})
        return entries

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/datasets/"):
            parts = path.removeprefix("/api/datasets/").split("/")
            repo, rest = "/".join(parts[:2]), parts[2:]
            if not (self.root / repo).is_dir():
                return self._missing("RepoNotFound", body=body)
            if len(rest) > 1 and rest[1] != COMMIT:
                return self._missing("RevisionNotFound", body=body)
            value: object = {"id": repo, "sha": COMMIT, "siblings": []}
            if rest and rest[0] == "tree":
                below = "".join(f"{part}/" for part in rest[2:])
                value = [each for each in self._tree(repo) if str(each["path"]).startswith(below)]
            return self._send(200, json.dumps(value).encode(), {}, body=body)
        repo, _, rest_of_path = path.removeprefix("/datasets/").partition("/resolve/")
        file = self.root / repo / rest_of_path.partition("/")[2]
        if not file.is_file():
            return self._missing("EntryNotFound", body=body)
        content = file.read_bytes()
        etag = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        return self._send(200, content, etag, body=body)

    def _missing(self, code: str, *, body: bool) -> None:
        self._send(404, b"{}", {"X-Error-Code": code}, body=body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def serve(root: Path) -> ThreadingHTTPServer:
    """A server for `root` on a free loopback port; the caller runs and closes it."""
    handler = type("Handler", (HubHandler,), {"root": root})
    return ThreadingHTTPServer(("127.0.0.1", 0), handler)


if __name__ == "__main__":
    server = serve(Path(sys.argv[1]))
    print(server.server_port, flush=True)
    server.serve_forever()
