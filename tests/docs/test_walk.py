"""The walk through the house names only what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

WALK = Path("docs/walk.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(shortlist(?:\.\w+)+:[\w.]+)`", WALK)))
STATUSES = sorted({int(number) for number in re.findall(r"\b[45]\d\d\b", WALK)})


@pytest.mark.parametrize("name", NAMES)
def test_every_name_on_the_walk_exists(name: str) -> None:
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)


def test_the_walk_has_not_lost_its_names() -> None:
    assert len(NAMES) >= 20


def test_every_room_is_on_the_walk() -> None:
    rooms = {name.split(".")[1].split(":")[0] for name in NAMES}
    assert {"api", "service", "scheduler", "text", "engine", "types"} <= rooms


def test_every_status_on_the_walk_can_be_answered() -> None:
    from shortlist.api.errors import _KINDS

    assert set(STATUSES) <= {kind.status for kind in _KINDS.values()}
