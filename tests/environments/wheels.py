"""Packages that exist only here, and an index of them."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
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


def sdist(folder: Path, name: str) -> str:
    """Write a package of which there is only source, which builds itself; return its SHA-256."""
    wheel(folder, name)
    [built] = _wheels(folder / name)
    source = f"{name}-1.0"
    backend = (
        "import shutil\n"
        "def build_wheel(folder, *_):\n"
        f"    shutil.copy({built.name!r}, folder)\n"
        f"    return {built.name!r}\n"
    )
    files = {
        "pyproject.toml": (
            '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        ),
        "own.py": backend,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    path = folder / name / f"{source}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(built, f"{source}/{built.name}")
        for file, text in files.items():
            entry = tarfile.TarInfo(f"{source}/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    built.unlink()
    page = f'<!DOCTYPE html><a href="{path.name}">{path.name}</a>'
    (folder / name / "index.html").write_text(page)
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
