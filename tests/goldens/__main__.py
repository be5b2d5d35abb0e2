"""Records all goldens again: `python -m tests.goldens`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.goldens import models, replay, surface

if __name__ == "__main__":
    asyncio.run(replay.record())
    surface.record()
    with tempfile.TemporaryDirectory() as folder:
        models.record(Path(folder))
