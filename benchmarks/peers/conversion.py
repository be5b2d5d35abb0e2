"""Converts models to the formats of other engines. A converted model is kept beside the environments."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

MODELS: Final = Path(__file__).parents[1] / ".environments" / "models"


def converted(folder: Path, format_name: str, convert: Callable[[Path], None]) -> Path:
    """Return the path of the converted model; if it does not exist, `convert` writes it to the path that it gets."""
    marks = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.resolve().iterdir())]
    target = MODELS / f"{folder.name}-{sha256(repr(marks).encode()).hexdigest()[:12]}-{format_name}"
    if not target.exists():
        MODELS.mkdir(parents=True, exist_ok=True)
        # Written under another name first, so that an interrupted conversion is never used as a model.
        unfinished = target.with_name(target.name + ".unfinished")
        convert(unfinished)
        unfinished.rename(target)
    return target
