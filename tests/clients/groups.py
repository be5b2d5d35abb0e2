"""Runs the scripts of clients in their environments."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.calls.telling import Row, Servers

HERE: Final = Path(__file__).parent
CALLS: Final = HERE / "calls"
MADE: Final = HERE / ".environments"
TIMEOUT_S: Final = 300.0

ENVIRONMENTS: Final[Mapping[str, Sequence[str]]] = {
    "applications": ("applications", "chromadb", "dify", "lightrag", "mem0"),
    "current": (
        "cohere",
        "dashscope",
        "haystack",
        "huggingface",
        "minor",
        "ollama",
        "openai",
        "providers",
        "pydantic_ai",
        "requests",
        "rerankers",
        "tei",
        "voyage",
        "xinference",
    ),
    "frameworks": ("huggingface", "langchain", "langchain_current", "litellm", "llamaindex", "openai"),
    "previous": (
        "cohere",
        "dashscope",
        "huggingface",
        "infinity",
        "langchain",
        "langchain_previous",
        "openai",
        "voyage",
        "xinference",
    ),
}

GROUPS: Final = tuple((environment, script) for environment, scripts in ENVIRONMENTS.items() for script in scripts)

QUIET: Final[Mapping[str, str]] = {
    "ANONYMIZED_TELEMETRY": "False",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NO_PROXY": "127.0.0.1",
    "PATH": os.defpath,
}
"""All environment variables of a script: no keys or proxies of this machine, only the tested servers are called."""


@dataclass(frozen=True)
class ScriptResult:
    """The output of one script: its calls, its exit code and its log."""

    rows: Sequence[Row]
    code: int
    log: str


def run(environment: str, script: str, servers: Servers, home: Path) -> ScriptResult:
    """Run the calls of one client.

    Args:
        environment: Name of the environment that runs the script.
        script: Name of the client's script.
        servers: The servers to call.
        home: An empty folder as the client's home.
    """
    python = MADE / environment / "bin/python"
    command: list[str | Path] = [python, CALLS / f"{script}_calls.py", servers.open, servers.locked, servers.busy, servers.key]
    environ = {**QUIET, "HOME": str(home)}
    done = subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    rows = [Row.parse(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
    return ScriptResult(rows, done.returncode, done.stderr[-4000:])


def is_made(environment: str) -> bool:
    """Return whether an environment is installed from its current list."""
    path = MADE / environment / "made_from"
    made_from = path.read_text() if path.exists() else ""
    expected = (HERE / "environments" / environment / "requirements.txt").read_text()
    return made_from.removeprefix(expected).startswith("Python ")
