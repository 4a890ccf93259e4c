"""
`/docs`: the description of the API as one page for people.

Made here and sent whole. The usual viewers are scripts from somebody else's server, which a machine
without a network does not get and which would be strangers on a page of ours.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import Any

import orjson

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
code, pre { font: 13px/1.4 ui-monospace, monospace }
pre { background: #f4f4f2; overflow: auto; padding: .8rem }
h3 { border-top: 1px solid #ddd; margin-top: 2rem; padding-top: 1rem }
h3 b { color: #06603e; display: inline-block; min-width: 4.5rem }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) {
  body { background: #16181a; color: #ddd } a { color: #8bf } pre { background: #222 }
  h3 { border-color: #444 } h3 b { color: #5c9 }
}
"""


def render(document: dict[str, Any]) -> bytes:
    """Return the page of an OpenAPI document as `openapi.py` makes it."""
    info = document["info"]
    sections: dict[str, list[str]] = defaultdict(list)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            sections[operation["tags"][0]].append(_operation(method, path, operation))
    title = f"{escape(info['title'])} {escape(info['version'])}"
    body = [
        f"<h1>{title}</h1><p>{escape(info['description'])}</p>",
        "<p>For programs: <a href='openapi.json'>openapi.json</a> (OpenAPI 3.1).</p>",
    ]
    for tag, parts in sections.items():
        body.append(f"<h2>{escape(tag.replace('_', ' ').capitalize())}</h2>{''.join(parts)}")
    body.append("<h2>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        shown = escape(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())
        body.append(
            f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary>"
            f"<pre>{shown}</pre></details>"
        )
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    return f"{head}<style>{_STYLE}</style>{''.join(body)}".encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        (f"<code>{escape(each['name'])}</code>", each["in"], escape(each.get("description", "")))
        for each in operation["parameters"]
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", escape(kind), _link(content["schema"])))
    for status, reply in operation["responses"].items():
        shown = ", ".join(_link(content["schema"]) for content in reply["content"].values())
        rows.append((status, shown, escape(reply["description"])))
    table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    more = f"<p>{escape(operation['description'])}</p>" if "description" in operation else ""
    return (
        f"<h3 id='{escape(operation['operationId'])}'><b>{method.upper()}</b> "
        f"<code>{escape(path)}</code></h3><p>{escape(operation['summary'])}</p>{more}"
        f"<table>{table}</table>"
    )


def _link(schema: dict[str, Any]) -> str:
    if "$ref" not in schema:
        return escape(schema.get("format") or schema.get("type", ""))
    name = escape(schema["$ref"].rpartition("/")[2])
    return f"<a href='#{name}'><code>{name}</code></a>"
