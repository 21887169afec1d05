"""The service as a client sees it: answers, limits, and what a mistake is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapter_stilts import load
from adapter_stilts.serving.app import create_app
from adapter_stilts.serving.limits import Limits
from adapter_stilts.serving.pool import ModulePool, stock
from adapter_stilts.zoo import together

ASKED: dict[str, dict[str, Any]] = {
    "qa-all": {"question": "Who?", "context": "Ann went to Rome. Bob stayed at home."},
    "stack(squad, qa)": {"question": "Where?", "context": "Ann went to Rome."},
    "nli-lora": {"premise": "It rains.", "hypothesis": "It is wet."},
    "copa": {"prompt": "The cat", "choices": ["sat.", "ate.", "swam.", "left."]},
    "pos": {"text": "She reads ."},
}
PROPER = {
    "premise": "text_a",
    "hypothesis": "text_b",
    "choices": "options",
}


@pytest.fixture
def client(pool: ModulePool) -> Iterator[TestClient]:
    with TestClient(create_app(pool)) as found:
        yield found


def limited(pool: ModulePool, **limits: Any) -> TestClient:
    return TestClient(create_app(pool, Limits(**limits)), raise_server_exceptions=False)


def test_what_can_be_asked(client: TestClient) -> None:
    found = client.get("/modules").json()
    modules = {each["name"]: each for each in found["modules"]}
    assert {*ASKED, "squad", "qa-on-squad"} - set(modules) == {"qa-on-squad"}  # the stack again
    assert modules["copa"]["kind"] == "choice"
    assert modules["copa"]["needs"] == ["prompt", "options"]
    assert modules["copa"]["choices"] == 4
    assert modules["nli"]["aliases"]["text_a"] == ["premise", "text"]
    assert modules["stack(squad, qa)"]["loaded"]
    assert "sw" in found["languages"]
    health = client.get("/health").json()
    assert health["status"] == "ok" and health["waiting"] == 0


def test_every_kind_of_module_answers_as_it_does_alone(client: TestClient, here: Path) -> None:
    inputs = [
        {"module": name, "id": number, "lang": "en", **row}
        for number, (name, row) in enumerate(ASKED.items())
    ]
    response = client.post("/predict/batch", json={"inputs": inputs})
    assert response.status_code == 200, response.text
    together = response.json()["answers"]
    assert [each["module"] for each in together] == list(ASKED)
    assert [each["id"] for each in together] == [0, 1, 2, 3, 4]
    for given, found in zip(inputs, together, strict=True):
        alone = client.post("/predict", json=given).json()
        assert alone["kind"] == found["kind"] and found["lang"] == "en"
        row = {PROPER.get(key, key): value for key, value in ASKED[given["module"]].items()}
        row = {"words": row["text"].split()} if "text" in row else row
        expected = load(given["module"], precision="fp32").predict_one(row)
        for answer in (alone["answer"], found["answer"]):
            assert _rounded(answer) == _rounded(json.loads(json.dumps(expected)))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return pytest.approx(value, abs=2e-3) if isinstance(value, float) else value


def test_requests_for_different_modules_share_a_batch(
    pool: ModulePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = together.run

    def counted(pieces: Any, **options: Any) -> None:
        sizes.append(len(pieces))
        run(pieces, **options)

    monkeypatch.setattr(together, "run", counted)
    with TestClient(create_app(pool, gather=1.0)) as client, ThreadPoolExecutor(5) as threads:

        def ask(name: str) -> Any:
            return client.post("/predict", json={"module": name, **ASKED[name]})

        assert [each.status_code for each in threads.map(ask, ASKED)] == [200] * 5
    assert sizes == [5]


BASE = {"module": "qa-all", "question": "Who?", "context": "Ann."}


@pytest.mark.parametrize(
    ("body", "status", "field", "words"),
    [
        ("{", 422, "body", "broken JSON"),
        ("[1]", 422, "body", "dictionary"),
        ("[" * 100_000, 422, "body", ""),
        ({}, 422, "module", "required"),
        ({**BASE, "question": 3}, 422, "question", "string"),
        ({**BASE, "qestion": "a"}, 422, "qestion", "not permitted: did you mean 'question'"),
        ({"module": "qa-all", "question": "Who?"}, 422, "context", "'context' is missing"),
        ({**BASE, "lang": "swaa"}, 422, "lang", "no language 'swaa'"),
        ({**BASE, "context": "\ud800"}, 422, "context", ""),
        ({**BASE, "\ud800": "a"}, 422, "", ""),
        ({**BASE, "id": "\ud800"}, 422, "id", "surrogate"),
        ({**BASE, "lang": "\udfff"}, 422, "lang", ""),
        ({**BASE, "module": "a\ud800"}, 422, "module", ""),
        ({"module": "pos", "words": ["a", "\udc00"]}, 422, "words", ""),
        ({**BASE, "id": True}, 422, "id", ""),
        ({**BASE, "id": 1.0}, 422, "id", ""),
        ({**BASE, "module": "qa-al"}, 404, "module", "did you mean 'qa-all'"),
        ({**BASE, "module": "../../etc"}, 404, "module", "no module"),
        ({**BASE, "module": "someone/thing"}, 404, "module", "no module"),
        ({"module": "copa", "prompt": "a", "options": ["a"]}, 422, "options", "4 options, not 1"),
        ({"module": "pos", "words": "a b"}, 422, "words", "list"),
    ],
)
def test_malformed_requests(
    client: TestClient, body: Any, status: int, field: str, words: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    response = client.post("/predict", content=text, headers=headers)
    assert response.status_code == status, response.text
    found = response.json()
    assert found["field"].startswith(field) and "[" not in found["field"]
    assert words in found["error"]
    assert "Traceback" not in found["error"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"module": "qa-all", "question": "Who?"}, "context"),
        ({**BASE, "module": "qa-al"}, "module"),
        ({**BASE, "lang": "swaa"}, "lang"),
        ({**BASE, "question": 3}, "question"),
        ({**BASE, "text_c": ""}, "text_c"),
        ({"module": "copa", "prompt": "a", "options": ["a"]}, "options"),
    ],
)
def test_the_complaint_itself_says_which_input_it_is_of(
    client: TestClient, wrong: dict[str, Any], field: str
) -> None:
    found = client.post("/predict/batch", json={"inputs": [BASE, BASE, wrong, BASE]}).json()
    assert found["field"] == f"inputs.2.{field}"
    assert found["error"].startswith(f"inputs.2.{field}: ")


def test_the_field_of_one_of_several_inputs(client: TestClient) -> None:
    response = client.post("/predict/batch", json={"inputs": [BASE, {**BASE, "context": 1}]})
    assert (response.status_code, response.json()["field"]) == (422, "inputs.1.context")
    response = client.post("/predict/batch", json={"inputs": [BASE, {**BASE, "module": "x"}]})
    assert (response.status_code, response.json()["field"]) == (404, "inputs.1.module")
    assert client.post("/predict/batch", json={"inputs": []}).status_code == 422
    plain = client.post(
        "/predict", content=json.dumps(BASE), headers={"Content-Type": "text/plain"}
    )
    assert plain.status_code == 422 and "application/json" in plain.json()["error"]
    assert client.get("/nothing").status_code == 404
    assert client.get("/predict").status_code == 405


def test_too_large(pool: ModulePool) -> None:
    with limited(pool, max_bytes=500, max_items=2) as client:
        assert client.post("/predict", json=BASE).status_code == 200
        for size in (600, 5_000, 100_000):
            response = client.post("/predict", json={**BASE, "context": "a" * size})
            assert response.status_code == 413
            assert "500 bytes" in response.json()["error"]
        response = client.post("/predict/batch", json={"inputs": [BASE] * 3})
        assert response.status_code == 413
        assert response.json() == {
            "error": "3 inputs in one request, and 2 may be",
            "field": "inputs",
        }


def test_too_many_at_once(pool: ModulePool, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    run = together.run

    def slow(pieces: Any, **options: Any) -> None:
        begun.set()
        assert go_on.wait(20)
        run(pieces, **options)

    monkeypatch.setattr(together, "run", slow)
    with (
        limited(pool, max_waiting=2, concurrency=3, max_items=1) as client,
        ThreadPoolExecutor(3) as threads,
    ):

        def ask() -> Any:
            return client.post("/predict", json=BASE)

        try:
            running = threads.submit(ask)
            assert begun.wait(20)
            waiting = [threads.submit(ask) for _ in range(2)]
            while client.get("/health").json()["waiting"] < 2:
                pass
            many = client.get("/modules")
            assert many.status_code == 429 and "3 requests are at work" in many.json()["error"]
            assert many.headers["Retry-After"] == "1"
        finally:
            go_on.set()
        assert [each.result().status_code for each in (running, *waiting)] == [200] * 3


def test_too_many_wait(pool: ModulePool, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    run = together.run

    def slow(pieces: Any, **options: Any) -> None:
        begun.set()
        assert go_on.wait(20)
        run(pieces, **options)

    monkeypatch.setattr(together, "run", slow)
    with (
        limited(pool, max_waiting=1, max_items=1) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        try:
            threads.submit(client.post, "/predict", json=BASE)
            assert begun.wait(20)
            threads.submit(client.post, "/predict", json=BASE)
            while not client.get("/health").json()["waiting"]:
                pass
            response = client.post("/predict", json=BASE)
        finally:
            go_on.set()
    assert response.status_code == 429
    assert "1 inputs wait already" in response.json()["error"]
    assert response.headers["Retry-After"] == "1"


def test_no_more_modules_than_may_be(here: Path) -> None:
    few = stock(["nli"], backbone=None, zoo=True, most=2, precision="fp32")
    with limited(few) as client:
        assert client.post("/predict", json=BASE).status_code == 200
        response = client.post("/predict", json={"module": "pos", "words": ["a"]})
        assert response.status_code == 429
        assert "2 modules are in memory" in response.json()["error"]
        assert client.post("/predict", json=BASE).status_code == 200


def test_what_fails_for_one_request_does_not_fail_for_others(
    pool: ModulePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = together.run

    def spoilt(pieces: Any, **options: Any) -> None:
        if any(each.row.get("question") == "poison" for each, _ in pieces):
            raise RuntimeError("a secret of the machine")
        run(pieces, **options)

    monkeypatch.setattr(together, "run", spoilt)
    app = create_app(pool, gather=0.5)
    with TestClient(app, raise_server_exceptions=False) as client, ThreadPoolExecutor(3) as threads:

        def ask(question: str) -> Any:
            return client.post("/predict", json={**BASE, "question": question})

        good, bad, other = threads.map(ask, ("Who?", "poison", "Where?"))
    assert (good.status_code, bad.status_code, other.status_code) == (200, 500, 200)
    assert "secret" not in bad.text


class Links(HTMLParser):
    """What a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.found += [value or "" for key, value in attrs if key in ("src", "href")]


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        response = client.get(path)
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        links = Links()
        links.feed(response.text)
        assert links.found
        for link in links.found:
            assert link.startswith("data:") or client.get(f"/{link}").status_code == 200
    docs = client.get("/docs").text
    assert "POST /predict/batch" in docs and "Retry-After" in docs
    schema = client.get("/openapi.json").json()
    assert {"/predict", "/predict/batch", "/modules", "/health"} <= set(schema["paths"])
    assert "429" in schema["paths"]["/predict"]["post"]["responses"]
