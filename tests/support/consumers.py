"""Recorded consumers: what programs send that are not Python or cannot be run here, and what their readers need.

A file of `tests/fixtures/consumers` is a consumer with exchanges. An exchange is a request, and what the answer must have for that
consumer to read it (`shortlist.doctor.checks` lists these needs).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "consumers"


def recorded() -> Mapping[str, Mapping[str, Any]]:
    """Return every recorded consumer by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FIXTURES.glob("*.json"))}
