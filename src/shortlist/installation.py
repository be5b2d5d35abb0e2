"""How to add an extra to this installation: a clone, a wheel or an image.

Shortlist is not on PyPI, so `pip install shortlist` finds nothing without the source of this installation.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

IMAGE_VARIABLE: Final = "IMAGE_TARGET"
"""An environment variable that images set to the name of their target."""

ROOT: Final = Path(__file__).parents[2]
"""The clone, if the package runs from one."""


def install_hint(extra: str) -> str:
    """Return the command that adds an extra to this installation; in an image, where no command does, a sentence."""
    if (ROOT / "pyproject.toml").is_file():
        return _in_folder(ROOT, "-e", f".[{extra}]")
    target = os.environ.get(IMAGE_VARIABLE)  # noqa: TID251 - says what the process runs in; it is no setting
    if target is not None:
        return f"the image {target} does not have it; build an image with the extra {extra}"
    return _from_source(extra)


def pip_install(*arguments: str) -> str:
    """Return the command that runs `pip install` for the Python of this process."""
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def _in_folder(folder: Path, *arguments: str) -> str:
    return f"cd {shlex.quote(str(folder))} && {pip_install('-c', 'constraints.txt', *arguments)}"


def _from_source(extra: str) -> str:
    """Return the command for the source that pip has recorded.

    Source: PyPA, Recording the Direct URL Origin of installed distributions.
    """
    found = next(iter(importlib.metadata.distributions(name="shortlist")), None)
    recorded = found.read_text("direct_url.json") if found else None
    if recorded is None:
        return f"{pip_install(f'shortlist[{extra}]')} with the package index that has Shortlist; PyPI does not"
    origin = json.loads(recorded)
    url = origin["url"]
    if "dir_info" in origin:
        return _in_folder(Path(url2pathname(urlsplit(url).path)), f".[{extra}]")
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    return pip_install(f"shortlist[{extra}] @ {url}")
