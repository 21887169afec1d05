"""A Hub in memory, on the loopback interface, that can be written to and made to misbehave.

It speaks as much of the Hub's protocol as sharing modules needs: create, branch, upload (regular
and LFS), commit, list, revisions, resolve with ETag and redirects to a store of large files with
ranges, and search by tags.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITER, READER = "hf_writer", "hf_reader"


def git_hash(content: bytes) -> str:
    """What git calls a file of that content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Fault:
    """What goes wrong with the next `times` requests for an address with `where` in it.

    `status` is answered in place of what was asked for, with `headers` and `body`; else the body is
    cut after `cut` bytes, or its last byte is changed (`spoil`), or `more` is added to it, or comes
    in pieces of a byte (`drip`: seconds between them), or does not end (`endless`). `replaced` are
    headers of the ordinary answer that are others.
    """

    where: str
    method: str = "GET"
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    cut: int = -1
    spoil: bool = False
    replaced: dict[str, str] = field(default_factory=dict)
    more: int = 0
    drip: float = 0.0
    endless: bool = False


@dataclass
class Repo:
    """Files by commit, commits by branch."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Makes a commit of these files, and these only."""
        digest = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[digest] = files
        self.branches[branch] = digest
        return digest

    def at(self, revision: str) -> str | None:
        """The commit that a revision means."""
        found = self.branches.get(revision, revision)
        return found if found in self.commits else None


@dataclass
class Hub:
    """What is on it, what it was asked, and what goes wrong next."""

    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    is_large: str = r".*\.safetensors"
    lock: threading.Lock = field(default_factory=threading.Lock)
    committing: threading.Lock = field(default_factory=threading.Lock)
    commit_takes: float = 0.0
    """Seconds; meanwhile other commits are refused."""
    refused: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Puts files there without any request; returns the commit."""
        return self.repos.setdefault(repo, Repo()).commit(branch, files)

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """What a repository holds."""
        commit = self.repos[repo].at(revision)
        assert commit
        return self.repos[repo].commits[commit]

    def fault(self, method: str, path: str) -> Fault | None:
        """What is to go wrong now."""
        with self.lock:
            for each in self.faults:
                if each.times and each.method == method and each.where in path:
                    each.times -= 1
                    return each
        return None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._begin()

    def do_GET(self) -> None:
        self._begin()

    def do_POST(self) -> None:
        self._begin()

    def do_PUT(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.fault = None
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(f"{self.command} {unquote(self.path)}")
        self.fault = self.hub.fault(self.command, unquote(self.path))
        if self.fault and self.fault.status:
            self._send(self.fault.status, self.fault.body, self.fault.headers)
            return
        self.query = parse_qs(urlsplit(self.path).query)
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) == 2:
            self._search()
        elif parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), [unquote(part) for part in parts[4:]])
        elif parts == ["api", "repos", "create"]:
            self._create()
        elif parts == ["api", "validate-yaml"]:
            self._json(200, {"errors": [], "warnings": []})
        elif parts[-4:] == ["info", "lfs", "objects", "batch"]:
            self._batch()
        elif parts[0] == "large":
            self._large(parts[1])
        elif len(parts) > 3 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), unquote(parts[3]), unquote("/".join(parts[4:])))
        else:
            self._send(404, b"{}", {})

    # Who asks

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _may_write(self) -> bool:
        if self._token() == WRITER:
            return True
        self._json(403 if self._token() else 401, {"error": "no write access"})
        return False

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self._token() != WRITER):
            status = 404 if self._token() else 401
            self._send(status, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        return repo

    # The interface

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization')}/{asked['name']}"
        if not self._may_write():
            return
        with self.hub.lock:
            known = name in self.hub.repos
            if not known:
                made = self.hub.repos[name] = Repo(private=bool(asked.get("private")))
                made.commit("main", {".gitattributes": b""})
        self._json(409 if known else 200, {"url": f"{self.hub.url}/{name}"})

    def _model(self, name: str, asked: list[str]) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        what = asked[0] if asked else "revision"
        if what == "branch":
            if self._may_write():
                known = asked[1] in repo.branches
                repo.branches.setdefault(asked[1], repo.branches["main"])
                self._json(409 if known else 200, {})
        elif what == "preupload":
            entries = [
                {
                    "path": each["path"],
                    "uploadMode": self._mode(each["path"]),
                    "shouldIgnore": False,
                }
                for each in json.loads(self.body)["files"]
            ]
            self._json(200, {"files": entries})
        elif what == "commit":
            if self._may_write():
                self._commit(name, repo, asked[1])
        else:
            commit = repo.at(asked[1] if asked else "main")
            if commit is None:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            elif what == "tree":
                self._json(200, [self._entry(*each) for each in repo.commits[commit].items()])
            else:
                self._json(200, self._about(name, repo, commit))

    def _mode(self, path: str) -> str:
        return "lfs" if re.fullmatch(self.hub.is_large, path) else "regular"

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"path": path, "type": "file", "size": len(content)}
        if self._mode(path) == "lfs":
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 1}
            return {**entry, "oid": "0" * 40}
        return {**entry, "oid": git_hash(content)}

    def _about(self, name: str, repo: Repo, commit: str) -> dict[str, Any]:
        files = repo.commits[commit]
        siblings = [
            {**self._entry(*each), "rfilename": each[0], "blobId": self._entry(*each)["oid"]}
            for each in files.items()
        ]
        return {
            "id": name,
            "modelId": name,
            "sha": commit,
            "private": repo.private,
            "downloads": 7,
            "lastModified": "2025-01-02T03:04:05.000Z",
            "tags": _tags(files.get("README.md", b"")),
            "siblings": siblings,
        }

    def _search(self) -> None:
        wanted = set(self.query.get("filter", ()))
        text = self.query.get("search", [""])[0].lower()
        found = [
            self._about(name, repo, repo.branches["main"])
            for name, repo in self.hub.repos.items()
            if text in name.lower() and not repo.private
        ]
        self._json(200, [each for each in found if wanted <= set(each["tags"])])

    def _batch(self) -> None:
        asked = json.loads(self.body)
        objects: list[dict[str, Any]] = []
        for each in asked["objects"]:
            action = {"upload": {"href": f"{self.hub.url}/large/{each['oid']}"}}
            known = each["oid"] in self.hub.large
            objects.append({**each, **({} if known else {"actions": action})})
        if self._may_write():
            self._json(200, {"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repo: Repo, branch: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        if not self.hub.committing.acquire(blocking=False):
            self.hub.refused.append(name)
            self._json(409, {"error": "Another commit operation is in progress"})
            return
        threading.Event().wait(self.hub.commit_takes)
        self.hub.committing.release()
        with self.hub.lock:
            files = dict(repo.commits[repo.branches[branch]])
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
                elif line["key"] == "deletedFile":
                    files.pop(value["path"], None)
            commit = repo.commit(branch, files)
        self._json(
            200, {"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit}
        )

    # Files

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        commit = repo.at(revision)
        if commit is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        content = repo.commits[commit].get(path)
        known = {"X-Repo-Commit": commit}
        if content is None:
            self._send(404, b"{}", {**known, "X-Error-Code": "EntryNotFound"})
        elif self._mode(path) == "lfs":
            digest = hashlib.sha256(content).hexdigest()
            self.hub.large[digest] = content
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            where = {"Location": f"{self.hub.url}/large/{digest}"}
            self._send(302, b"", {**known, **linked, **where})
        else:
            self._send(200, content, {**known, "ETag": f'"{git_hash(content)}"'})

    def _large(self, digest: str) -> None:
        if self.command == "PUT":
            assert hashlib.sha256(self.body).hexdigest() == digest
            self.hub.large[digest] = self.body
            self._send(200, b"", {})
            return
        content = self.hub.large[digest]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked:
            start = int(asked[1])
            self.hub.ranges.append(asked[0])
            span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self._send(206, content[start:], span)
        else:
            self._send(200, content, {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    def _json(self, status: int, value: object) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        fault = self.fault or Fault("")
        if fault.spoil and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        content += b" " * fault.more
        self.send_response(status)
        length = {} if fault.endless else {"Content-Length": str(len(content))}
        for name, value in {**headers, **length, **fault.replaced}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self._send_body(content, fault)

    def _send_body(self, content: bytes, fault: Fault) -> None:
        self.close_connection = fault.cut >= 0 or fault.endless or fault.drip > 0
        with contextlib.suppress(OSError):
            if fault.drip:
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    threading.Event().wait(fault.drip)
                return
            self.wfile.write(content if fault.cut < 0 else content[: fault.cut])
            self.wfile.flush()
            while fault.endless:
                self.wfile.write(b" " * 65_536)


def _tags(card: bytes) -> list[str]:
    """What the Hub makes of a card's metadata."""
    found = re.match(rb"---\n(.*?)\n---\n", card, re.DOTALL)
    about = yaml.safe_load(found[1]) if found else {}
    tags = list(about.get("tags", ()))
    languages = about.get("language", ())
    tags += [languages] if isinstance(languages, str) else list(languages)
    tags += [f"base_model:{about['base_model']}"] if "base_model" in about else []
    tags += [f"license:{about['license']}"] if "license" in about else []
    return [*tags, f"base_model:adapter:{about.get('base_model')}"]


@contextmanager
def serving() -> Iterator[Hub]:
    """A running Hub."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
