from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import sanderling
from sanderling.observe.names import ACTIONS

SOURCE = Path(sanderling.__file__).parent


def _logged() -> Iterator[tuple[str, set[str], str]]:
    """Yield (action, fields, place) of every call of observe.logs in the source."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "logs"
                and node.func.attr in {"debug", "info", "warning", "error"}
            ):
                action = ast.literal_eval(node.args[0])
                fields = {k.arg for k in node.keywords if k.arg and k.arg != "cause"}
                yield action, fields, f"{path.relative_to(SOURCE)}:{node.lineno}"


def test_every_action_that_is_logged_is_in_the_table_with_its_fields() -> None:
    unknown = [
        f"{place}: {action} {sorted(fields - set(ACTIONS[action].fields))}"
        if action in ACTIONS
        else f"{place}: {action}"
        for action, fields, place in _logged()
        if action not in ACTIONS or fields - set(ACTIONS[action].fields)
    ]

    assert unknown == []


def test_every_action_in_the_table_is_logged_somewhere() -> None:
    assert set(ACTIONS) - {action for action, _, _ in _logged()} == set()
