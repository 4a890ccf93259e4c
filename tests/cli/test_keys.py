from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.live import sanderling


def test_a_key_is_printed_once_and_listed_without_its_text(tmp_path: Path) -> None:
    created = sanderling("keys", "create", "laptop", "--data", tmp_path)
    listed = sanderling("keys", "list", "--data", tmp_path)

    key = created.stdout.strip()
    assert created.returncode == 0
    assert re.fullmatch(r"sk-sdl-[\w-]{40,}", key)
    assert "laptop" in listed.stdout
    assert key not in listed.stdout
    assert key not in (tmp_path / "sanderling.db").read_bytes().decode("latin-1")


def test_a_key_belongs_to_the_organization_it_was_made_for(tmp_path: Path) -> None:
    sanderling("keys", "create", "ci", "--organization", "org_build", "--data", tmp_path)
    sanderling("keys", "create", "me", "--data", tmp_path)

    keys = json.loads(sanderling("keys", "list", "--json", "--data", tmp_path).stdout)

    assert [(k["name"], k["organization_id"]) for k in keys] == [
        ("ci", "org_build"),
        ("me", "org_default"),
    ]


def test_a_revoked_key_is_shown_as_such(tmp_path: Path) -> None:
    created = json.loads(sanderling("keys", "create", "x", "--json", "--data", tmp_path).stdout)

    revoked = sanderling("keys", "revoke", created["id"], "--data", tmp_path)
    again = sanderling("keys", "revoke", created["id"], "--data", tmp_path)

    assert revoked.returncode == 0
    assert "revoked" in sanderling("keys", "list", "--data", tmp_path).stdout
    assert again.returncode == 1
    assert again.stderr.startswith(f"There is no key {created['id']}")


def test_a_data_folder_without_keys_says_so(tmp_path: Path) -> None:
    listed = sanderling("keys", "list", "--data", tmp_path)

    assert listed.returncode == 0
    assert listed.stdout == ""
    assert "There are no keys" in listed.stderr


def test_a_key_without_a_name_is_refused(tmp_path: Path) -> None:
    created = sanderling("keys", "create", " ", "--data", tmp_path)

    assert created.returncode == 2
    assert created.stdout == ""
    assert "There are no keys" in sanderling("keys", "list", "--data", tmp_path).stderr
