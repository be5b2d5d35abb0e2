"""Models in the formats of other engines: made the first time, then kept beside the environments."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

KEPT: Final = Path(__file__).parents[1] / ".environments" / "models"


def converted(folder: Path, form_batch: str, convert: Callable[[Path], None]) -> Path:
    """Return where the folder's model lies in another form; `convert` writes it to the path that it is given."""
    marks = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.resolve().iterdir())]
    target = KEPT / f"{folder.name}-{sha256(repr(marks).encode()).hexdigest()[:12]}-{form_batch}"
    if not target.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        # Made under another name, so that what was interrupted is never taken for a model.
        unfinished = target.with_name(target.name + ".unfinished")
        convert(unfinished)
        unfinished.rename(target)
    return target
