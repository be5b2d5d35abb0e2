"""The compose file, as Docker Compose would read it without a variable set."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

FOLDER = Path("deploy/compose")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def compose_text(**variables: str) -> str:
    """Return the file with its variables replaced: by these, else by their defaults."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    return VARIABLE.sub(lambda found: variables.get(found[1], found[2]), text)


def services(**variables: str) -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(compose_text(**variables))["services"]
    return found


def mounts(service: dict[str, Any]) -> dict[PurePosixPath, Path]:
    """Return the repository's files that a service mounts, by where it finds them."""
    parts = [volume.split(":") for volume in service.get("volumes", ())]
    return {PurePosixPath(inside): (FOLDER / outside).resolve() for outside, inside, *_ in parts if outside[0] == "."}
