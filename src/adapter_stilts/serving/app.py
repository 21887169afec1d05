"""The service's paths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, StrictUndefined
from starlette.exceptions import HTTPException

from adapter_stilts import __version__
from adapter_stilts.errors import FailureError, UserError, hint
from adapter_stilts.safety import printable
from adapter_stilts.serving.batcher import (
    Batcher,
    BatcherFullError,
    Order,
    TooLargeError,
)
from adapter_stilts.serving.limits import Guard, Hosts, Limits
from adapter_stilts.serving.pool import ModuleError, ModulePool, ModulePoolFullError
from adapter_stilts.serving.schema import (
    Answer,
    Answers,
    Health,
    Input,
    Inputs,
    Modules,
    Problem,
)
from adapter_stilts.tasks.languages import known_languages
from adapter_stilts.zoo.predict import InputError, read_input

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "no such module"},
    413: {"model": Problem, "description": "the body is too large, or too much work"},
    422: {"model": Problem, "description": "malformed: field says where"},
    500: {"model": Problem, "description": "a module that cannot answer: field says which"},
    429: {"model": Problem, "description": "too much at once: Retry-After says when to come again"},
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
)
_GONE = 499
_LONGEST = 500
"""Characters of a message, part of which a client may have sent."""


class ProblemError(Exception):
    """Ends a request with a status, a reason, and the field that is wrong."""

    def __init__(self, status: int, why: str, field: str | None = None) -> None:
        super().__init__(why)
        self.status, self.field = status, field


def create_app(
    pool: ModulePool,
    limits: Limits | None = None,
    *,
    gather: float = 0.005,
    hosts: Hosts | None = None,
) -> FastAPI:
    """The service over a pool of modules; a request waits `gather` seconds for others.

    `hosts` says how the service may be called; None: by any name.
    """
    limits = limits or Limits()
    batcher = Batcher(pool, limits, gather=gather)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await asyncio.to_thread(batcher.stop)

    app = FastAPI(
        title="adapter-stilts",
        description="One multilingual encoder, many modules: each request names the one it wants.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, limits=limits, hosts=hosts)
    _add_pages(app)
    _add_handlers(app)

    _add_answers(app, pool, batcher, limits)
    return app


def _add_answers(app: FastAPI, pool: ModulePool, batcher: Batcher, limits: Limits) -> None:
    @app.get("/health", summary="Whether the service is up, and how busy")
    async def health() -> Health:
        name = pool.engine.backbone.name
        return Health(status="ok", backbone=name, loaded=len(pool.loaded), waiting=batcher.waiting)

    @app.get("/modules", summary="What can be asked")
    async def modules() -> Modules:
        loaded = pool.loaded
        found = [
            about.model_copy(update={"loaded": name in loaded})
            for name, about in pool.about.items()
        ]
        return Modules(
            backbone=pool.engine.backbone.name, languages=list(known_languages()), modules=found
        )

    @app.post("/predict", summary="Ask one module", responses=_PROBLEMS)
    async def predict(given: Input, request: Request) -> Answer:
        (answer,) = await _answer(pool, batcher, [given], request, "")
        return answer

    @app.post("/predict/batch", summary="Ask one or several modules at once", responses=_PROBLEMS)
    async def predict_batch(given: Inputs, request: Request) -> Answers:
        if len(given.inputs) > limits.max_items:
            many = f"{len(given.inputs)} inputs in one request, and {limits.max_items} may be"
            raise ProblemError(413, many, "inputs")
        answers = await _answer(pool, batcher, given.inputs, request, "inputs.{}.")
        return Answers(answers=answers)


async def _answer(
    pool: ModulePool, batcher: Batcher, inputs: Sequence[Input], request: Request, place: str
) -> list[Answer]:
    """The answers, unless the client leaves first: then what waits for it is dropped."""
    order = Order([_check(pool, each, place.format(n)) for n, each in enumerate(inputs)])
    try:
        batcher.submit(order)
    except BatcherFullError as error:
        raise ProblemError(429, str(error)) from error
    work = asyncio.wrap_future(order.answers)
    gone = asyncio.ensure_future(_gone(request))
    either: list[asyncio.Future[Any]] = [work, gone]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ProblemError(_GONE, "the client is gone")
        found = work.result()
    except (ModuleError, TooLargeError, UserError, FailureError) as error:
        status = {ModulePoolFullError: 429, TooLargeError: 413}.get(type(error), 500)
        field = _field(error.name, inputs, place) if isinstance(error, ModuleError) else None
        raise ProblemError(status, str(error), field) from error
    finally:
        work.cancel()
        gone.cancel()
    return [
        Answer(
            module=each.module,
            kind=pool.offers[each.module].record.head,
            id=each.id,
            lang=each.lang,
            answer=answer,
        )
        for each, answer in zip(inputs, found, strict=True)
    ]


def _field(module: str, inputs: Sequence[Input], place: str) -> str:
    """The field of the first input that asks for a module."""
    number = next(n for n, each in enumerate(inputs) if each.module == module)
    return f"{place.format(number)}module"


async def _gone(request: Request) -> None:
    """Ends when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check(pool: ModulePool, given: Input, place: str) -> tuple[str, dict[str, Any]]:
    try:
        offer = pool.offer(given.module)
    except UserError as error:
        raise _wrong(404, error, place, "module") from error
    fields = given.model_dump(exclude_none=True)
    try:
        row = read_input(offer.record, fields, offer.choices, name=offer.name)
    except InputError as error:
        raise _wrong(422, error, place, error.field) from error
    return offer.name, row


def _wrong(status: int, error: UserError, place: str, field: str) -> ProblemError:
    """What is wrong with an input; of several ones, with the place of the one that it is."""
    why = f"{place}{field}: {error}" if place else str(error)
    return ProblemError(status, why, f"{place}{field}")


def _add_pages(app: FastAPI) -> None:
    page = files("adapter_stilts.serving") / "page"

    def serve(path: str, name: str, kind: str) -> None:
        text = (page / name).read_text("utf-8")

        @app.get(path, include_in_schema=False)
        async def show() -> Response:
            return Response(text, media_type=kind, headers={"Content-Security-Policy": _POLICY})

    serve("/", "index.html", "text/html; charset=utf-8")
    serve("/page.css", "page.css", "text/css; charset=utf-8")
    serve("/page.js", "page.js", "text/javascript; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": _POLICY})


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(ProblemError)
    async def problem(_: Request, error: ProblemError) -> JSONResponse:
        headers = {"Retry-After": "1"} if error.status == 429 else None
        return _error_response(error.status, str(error), error.field, headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        field, why = _first(error.errors()[0])
        if field == "body" and "json" not in request.headers.get("content-type", ""):
            why = "a JSON object is expected, sent as Content-Type: application/json"
        return _error_response(422, f"{field}: {why}", field)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        status = 422 if error.status_code == 400 else error.status_code
        return _error_response(
            status, str(error.detail), "body" if status == 422 else None, error.headers
        )

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return _error_response(500, "the service failed on this request: its log says how", None)


def _error_response(status: int, why: str, field: str | None, headers: Any = None) -> JSONResponse:
    named = None if field is None else printable(field)[:_LONGEST]
    return JSONResponse({"error": printable(why)[:_LONGEST], "field": named}, status, headers)


def _first(error: Any) -> tuple[str, str]:
    """The field and the complaint of what pydantic found."""
    place = [str(part) for part in error["loc"][1:]]
    if error["type"] == "json_invalid":
        why = error.get("ctx", {}).get("error", "malformed")
        return "body", f"broken JSON at character {place[0]} ({why})"
    meant = ""
    if error["type"] == "extra_forbidden":
        meant = hint(place[-1], Input.model_fields)
    return ".".join(place) or "body", error["msg"] + (f": {meant}" if meant else "")


Schema = Mapping[str, Any]


def docs_page(schema: Schema) -> str:
    """Every path with its fields and answers, as HTML."""
    place = files("adapter_stilts.serving") / "page" / "requests.html.jinja"
    page = Environment(autoescape=True, undefined=StrictUndefined)
    return page.from_string(place.read_text("utf-8")).render(
        about=schema["info"],
        paths=schema["paths"],
        resolve=lambda given: _resolve(schema, given),
        kinds=_kinds,
        json_of=_json_of,
    )


def _json_of(part: Schema) -> Schema | None:
    """The schema of a body or an answer that is JSON."""
    found: Schema | None = part.get("content", {}).get("application/json", {}).get("schema")
    return found


def _resolve(schema: Schema, given: Schema) -> tuple[str, Schema]:
    if "$ref" not in given:
        return "", given
    name = given["$ref"].rpartition("/")[2]
    return name, schema["components"]["schemas"][name]


def _kinds(one: Schema) -> Iterator[str]:
    """The types that a field may have, in words."""
    if "$ref" in one:
        yield one["$ref"].rpartition("/")[2]
    for each in one.get("anyOf", ()):
        yield from _kinds(each)
    kind = one.get("type")
    if kind == "array":
        yield f"list of {' or '.join(_kinds(one.get('items', {}))) or 'anything'}"
    elif kind and kind != "null":
        yield kind
