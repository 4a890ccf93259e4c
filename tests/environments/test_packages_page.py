"""The page about packages says what the locks say."""

import re

import pytest

from sanderling.environments import lock
from tests.environments.test_lock import PROFILES, TOP, canonical

ROWS = re.findall(
    r"^\| (\S+) \| (default|full|left out) \|", (TOP / "docs/packages.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("profile", lock.PROFILES)
def test_a_profile_has_as_many_packages_as_is_said(profile):
    page = (TOP / "docs/environment.md").read_text()
    [stated] = re.findall(rf"^\| `{profile}` \|.*\| (\d+) \| [\d.]+ GB \|$", page, re.MULTILINE)
    lists = [lock.folder_of(profile) / name for name in ("python-3.11.txt", "source.txt")]

    assert int(stated) == sum(len(lock.pinned(path)) for path in lists)


@pytest.mark.parametrize("profile", ["default", "full"])
def test_a_package_is_where_the_page_says(profile):
    per_python = [set(map(canonical, lock.pinned(path))) for p, path in PROFILES if p == profile]
    built = set(map(canonical, lock.pinned(lock.folder_of(profile) / "source.txt")))
    promised = {"default"} if profile == "default" else {"default", "full"}
    stated = {canonical(name) for name, where in ROWS if where in promised}

    assert len(ROWS) > 391
    assert stated == (set.intersection(*per_python) | built) & {canonical(name) for name, _ in ROWS}
