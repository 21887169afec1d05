"""Data from the Hub, spoken to over HTTP: a server of our own plays its part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_client import answer_all  # type: ignore[import-not-found]

from hub_server import COMMIT, Change, serving
from process_kit import in_a_process

pytestmark = pytest.mark.whole

Case = dict[str, Any]
Client = Callable[..., list[Case]]

README = """---
configs:
- config_name: plain
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/validation-*
---
"""
OTHER = COMMIT[::-1]
WAY_OUT = "; use --data PATH for a folder of official files, or --data sample"
PLAIN = {"id": "tiny/nli", "revision": COMMIT, "split": {"split": "train", "config": "plain"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hub's repositories."""
    root = tmp_path_factory.mktemp("hub")
    rows = [{"premise": f"p{i}", "hypothesis": "h", "label": i % 4 - 1} for i in range(8)]
    names = ["nli/data/train-0", "nli/data/validation-0", "rounds/plain/train_r1/0"]
    for name in [*names, "rounds/plain/train_r2/0"]:
        path = root / "tiny" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    (root / "tiny/nli/README.md").write_text(README)
    for name, row in {"gated": rows[1], "columns": {"text": "x", "label": 1}}.items():
        (root / "tiny" / name).mkdir()
        (root / "tiny" / name / "train.jsonl").write_text(json.dumps(row) + "\n")
    (root / "tiny/gated/GATED").write_text("")
    (root / "tiny/scripted").mkdir()
    (root / "tiny/scripted/scripted.py").write_text("")
    return root


@pytest.fixture
def hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The Hub's address, and what it has been asked."""
    with serving(root) as served:
        yield served


@pytest.fixture
def client(tmp_path: Path, cache: Path) -> Client:
    """Asks for cases in a new process; the library's cache lasts for the test."""

    def ask(cases: list[Case], endpoint: str, *, offline: bool = False) -> list[Case]:
        written = tmp_path / "answers.json"
        assert in_a_process(answer_all, cases, endpoint, tmp_path / "hf", offline, written) == 0
        answers: list[Case] = json.loads(written.read_text("utf-8"))
        return answers

    return ask


def test_hub_data_loads_and_is_not_asked_for_again(
    hub: tuple[str, list[str]], client: Client
) -> None:
    endpoint, asked = hub
    branch = {"id": "tiny/rounds", "revision": "refs/convert/parquet"}
    rounds = {**branch, "split": {"split": "train_r2", "files": "plain/train_r2/*.parquet"}}
    plain, second = client([PLAIN, rounds], endpoint)
    assert [row["label"] for row in plain["examples"]] == [0, 1, 2, 0, 1, 2]
    assert plain["examples"][0] == {"id": "tiny-1", "text_a": "p1", "text_b": "h", "label": 0}
    assert plain["parts"] == [
        {
            "name": "tiny",
            "hub": "tiny/nli",
            "revision": COMMIT,
            "splits": [{"split": "train", "config": "plain"}],
            "rows_kept": 6,
            "rows_left_out": 2,
        }
    ]
    assert plain["found"] and plain["detail"] == "tiny/nli, downloaded"
    assert len(second["examples"]) == 6
    assert any("train_r2" in each for each in asked)
    assert not any("train_r1/0.parquet" in each for each in asked)
    asked.clear()
    assert client([PLAIN], endpoint) == [plain]
    assert asked == []


def task_file(folder: Path, name: str, **changes: str) -> dict[str, str]:
    """A case: a task file of a user's own whose data is on the Hub."""
    lines = {
        "name": name,
        "head": "classification",
        "hub": f"{{id: tiny/columns, revision: {COMMIT}, splits: {{train: train, dev: train}}}}",
        "columns": "{text: text, label: label}",
        "labels": "['no', 'yes']",
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()), "utf-8")
    return {"file": str(path)}


def test_own_tasks_on_the_hub(hub: tuple[str, list[str]], client: Client, tmp_path: Path) -> None:
    """By a task file: read by its columns, and refused with the place where one is not there."""
    hubless = "{id: tiny/nothing, revision: abc, splits: {train: train, dev: train}}"
    cases = [
        task_file(tmp_path, "mine"),
        task_file(tmp_path, "column", columns="{text: sentence, label: label}"),
        task_file(tmp_path, "label", labels="['no']"),
        task_file(tmp_path, "unlisted", labels="from the data"),
        task_file(tmp_path, "nowhere", hub=hubless),
        task_file(tmp_path, "moving", hub=hubless.replace("abc", "main")),
    ]
    mine, column, label, unlisted, nowhere, moving = client(cases, hub[0])
    assert [(row["text_a"], row["label"]) for row in mine["examples"]] == [("x", 1)]
    assert "tiny/columns" in column["error"] and "'sentence'" in column["error"]
    assert "tiny/columns" in label["error"] and "label 1 is none of no" in label["error"]
    assert "unlisted.yaml, line 5" in unlisted["error"]
    assert "tiny/nothing" in nowhere["error"]
    assert "moving.yaml, line 3" in moving["error"] and "revision" in moving["error"]
    for each in (column, label, unlisted, nowhere, moving):
        assert "\n" not in each["error"]


def test_what_the_hub_refuses(hub: tuple[str, list[str]], client: Client) -> None:
    endpoint, _ = hub
    split = {"split": "train"}
    cases = [
        {**PLAIN, "revision": OTHER},
        {"id": "tiny/nothing", "revision": COMMIT, "split": split},
        {"id": "tiny/gated", "revision": COMMIT, "split": split},
        {"id": "tiny/columns", "revision": COMMIT, "split": split},
        {**PLAIN, "split": {"split": "test", "config": "plain"}},
        {"id": "tiny/scripted", "revision": COMMIT, "split": split},
    ]
    said = [answer["error"] for answer in client(cases, endpoint)]
    parts = [
        ("'tiny/nli'", OTHER, WAY_OUT),
        ("no data set 'tiny/nothing'", WAY_OUT),
        ("'tiny/gated' is gated", f"{endpoint}/datasets/tiny/gated", "hf auth login", WAY_OUT),
        ("tiny/columns, split train, row 0: no column 'premise' (the columns are text, label)",),
        ("'tiny/nli' cannot be read", "ValueError: Unknown split", WAY_OUT),
        ("'tiny/scripted' cannot be read", "RuntimeError: Dataset scr", WAY_OUT),
    ]
    for line, words in zip(said, parts, strict=True):
        assert all(word in line for word in words) and "\n" not in line


def test_without_the_hub(hub: tuple[str, list[str]], client: Client, cache: Path) -> None:
    endpoint, _ = hub
    nowhere = "http://127.0.0.1:9"
    unreachable = (
        "data set 'tiny/nli' is not here, and the Hub cannot be reached (ConnectionError at "
        f"{nowhere}): connect first, or check HF_ENDPOINT and the proxies{WAY_OUT}"
    )
    switched_off = (
        "data set 'tiny/nli' is not here, and HF_HUB_OFFLINE switches the Hub off: unset it"
        f"{WAY_OUT}"
    )
    assert client([PLAIN], nowhere) == [{"error": unreachable}]
    assert client([PLAIN], nowhere, offline=True) == [{"error": switched_off}]

    (loaded,) = client([PLAIN], endpoint)
    # What `datasets` has serves when our own cache is gone, but only at the same revision.
    for offline, complaint in ((False, unreachable), (True, switched_off)):
        (cache / "examples").rename(cache / f"away{offline:d}")
        again, other = client([PLAIN, {**PLAIN, "revision": OTHER}], nowhere, offline=offline)
        assert again == loaded
        assert other["error"].startswith(complaint)
        assert other["error"].endswith("(the cache has it at another revision than this one needs)")


def _etag(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return content, {**headers, "ETag": '"../../../../outside"'} if "ETag" in headers else headers


def _commit(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return content, {**headers, "X-Repo-Commit": "../../../outside"}


def _spoilt(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    wrong = content[:-1] + bytes([content[-1] ^ 1]) if path.endswith("train-0.parquet") else content
    return wrong, headers


def _longer(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return content + b" " * (100 if path.endswith("train-0.parquet") else 0), headers


def _broken(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return content[:-5] if path.startswith("/api") else content, headers


def _outside(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    return content.replace(b"data/train-0.parquet", b"../../train-0.parquet"), headers


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_etag, "ETag"),
        (_commit, "no commit"),
        (_spoilt, "hash"),
        (_longer, "wrong length"),
        (_broken, "broken JSON"),
        (_outside, "no file's name"),
    ],
)
def test_answers_that_are_refused(
    root: Path, client: Client, tmp_path: Path, change: Change, words: str
) -> None:
    with serving(root, change) as (endpoint, _):
        (answer,) = client([PLAIN], endpoint)
    said = str(answer["error"])
    assert words in said and "\n" not in said and "cannot be reached" not in said
    assert not list(tmp_path.rglob("outside*"))


def test_a_busy_hub_is_asked_five_times(root: Path, client: Client) -> None:
    def busy(path: str, content: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        where = path.endswith("README.md")
        return content, {**headers, "Status": "503"} if where else headers

    with serving(root, busy) as (endpoint, asked):
        (answer,) = client([PLAIN], endpoint)
    assert "status 503" in answer["error"]
    assert len([each for each in asked if each.endswith("README.md")]) == 5
