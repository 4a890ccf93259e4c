"""Environments with what people use: each installed once from PyPI or npm, kept in /var/tmp."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plain_user import kept_folder, run_uv

# What each program needs; the packages of one line are installed together.
CLIENTS = {
    "openai_agents.py": "openai-agents==0.24.0",
    "langchain_chat.py": "langchain-openai==1.7.4",
    "pydantic_ai_agent.py": "pydantic-ai-slim[openai]==2.68.0",
    "litellm_client.py": "litellm==1.110.2 mcp==1.28.1",
    "openai_node.mjs": "openai@7.59.0",
    "ai_sdk.mjs": "ai@7.0.173 @ai-sdk/openai@4.0.118",
}
PROGRAM_S_MAX = 300.0


@functools.cache
def python_with(packages: str) -> Path:
    """Return an interpreter that has these packages."""
    key = re.sub(r"\W+", "-", packages)
    with kept_folder(f"{key}-{sys.version_info.major}.{sys.version_info.minor}") as folder:
        done, python = folder / "done", folder / "env" / "bin" / "python"
        if not (done.exists() and python.exists()):
            run_uv("venv", "--quiet", "--clear", "--python", sys.executable, folder / "env")
            run_uv("pip", "install", "--quiet", "--python", python, *packages.split())
            done.touch()
    return python


@functools.cache
def node_folder_with(packages: str) -> Path:
    """Return a folder in which node finds these packages."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: apt install nodejs npm")
    with kept_folder(re.sub(r"\W+", "-", packages)) as folder:
        done = folder / "done"
        if not done.exists():
            quiet = ("--no-audit", "--no-fund", "--silent")
            command = ["npm", "install", *quiet, "--prefix", folder, *packages.split()]
            subprocess.run(command, cwd=folder, check=True, timeout=PROGRAM_S_MAX)
            done.touch()
    return folder
