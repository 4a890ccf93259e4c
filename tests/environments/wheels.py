"""Wheels of packages that exist only here, and an index of them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path


def wheel(
    folder: Path, name: str, version: str = "1.0", files: Mapping[str, str] | None = None
) -> None:
    """Write the wheel of a package with `files` (by default one module of the package's name)."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = dict(files or {f"{name}.py": f"version = {version!r}\n"})
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    page = folder / name / "index.html"
    page.parent.mkdir(exist_ok=True)
    file = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(page.parent / file, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    links = "".join(f'<a href="{found.name}">{found.name}</a>' for found in _wheels(page.parent))
    page.write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")


def offline(folder: Path) -> dict[str, str]:
    """Return the variables with which uv knows these wheels and no others."""
    return {
        "UV_DEFAULT_INDEX": folder.as_uri(),
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": f"{folder}-cache",
    }


def _wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
