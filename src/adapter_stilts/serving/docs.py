"""The OpenAPI description as a page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]
_OPTIONAL = " <small>optional</small>"


def docs_page(schema: Schema) -> str:
    """Every path with its fields and answers, as HTML."""
    about = schema["info"]
    paths = "".join(
        _operation(schema, method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(about["title"])}: requests</title><link rel="stylesheet" href="page.css">'
        f"</head><body><main><header><h1>{escape(about['title'])}</h1>"
        f'<p>{escape(about["description"])} <a href="./">Try it</a> · '
        '<a href="openapi.json">openapi.json</a></p></header>'
        f"{paths}</main></body></html>"
    )


def _operation(schema: Schema, method: str, path: str, operation: Schema) -> str:
    parts = [
        f'<section class="card"><h2><code>{escape(method.upper())} {escape(path)}</code></h2>'
        f"<p>{escape(operation.get('summary', ''))}</p>"
    ]
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(_object(schema, "Body", body))
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/json", {}).get("schema")
        title = f"{status} {response.get('description', '')}"
        parts.append(_object(schema, title, content) if content else f"<h3>{escape(title)}</h3>")
    return "".join([*parts, "</section>"])


def _object(schema: Schema, title: str, given: Schema) -> str:
    name, described = _resolved(schema, given)
    needed = described.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field in needed else _OPTIONAL}</td>"
        f"<td>{escape(_kind(one))}</td><td>{escape(one.get('description', ''))}</td></tr>"
        for field, one in described.get("properties", {}).items()
    )
    text = described.get("description", "")
    inner = "".join(
        _object(schema, f"Each of {field}", one["items"])
        for field, one in described.get("properties", {}).items()
        if "$ref" in one.get("items", {}) and title == "Body"
    )
    return (
        f"<details><summary>{escape(title)}: {escape(name)}</summary>"
        f'<p class="pre">{escape(text)}</p><table>{rows}</table>{inner}</details>'
    )


def _resolved(schema: Schema, given: Schema) -> tuple[str, Schema]:
    if "$ref" not in given:
        return "", given
    name = given["$ref"].rpartition("/")[2]
    return name, schema["components"]["schemas"][name]


def _kind(one: Schema) -> str:
    """The type of a field in words."""
    return " or ".join(_kinds(one))


def _kinds(one: Schema) -> Iterator[str]:
    if "$ref" in one:
        yield one["$ref"].rpartition("/")[2]
    for each in one.get("anyOf", ()):
        yield from _kinds(each)
    kind = one.get("type")
    if kind == "array":
        yield f"list of {_kind(one.get('items', {})) or 'anything'}"
    elif kind and kind != "null":
        yield kind
