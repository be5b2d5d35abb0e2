"""Parses what a user writes to name a model: a folder, a hub id or the demo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from shortlist.errors import BadSetting

_DEMO = "demo"
_MODELSCOPE = "modelscope:"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_FOLDER_STARTS = (".", "/", "~")
_FORMS = "OWNER/NAME on Hugging Face, modelscope:OWNER/NAME, a local folder such as ./my-model, or demo"


class Source(StrEnum):
    """Where a model's files come from."""

    DEMO = "demo"
    FOLDER = "folder"
    HUGGING_FACE = "huggingface"
    MODELSCOPE = "modelscope"


@dataclass(frozen=True, slots=True)
class Reference:
    """One model, named.

    Attributes:
        source: Where its files come from.
        name: `OWNER/NAME` on a hub, the absolute path of a local folder, or `demo`.
    """

    source: Source
    name: str

    @property
    def text(self) -> str:
        """The name as users write it."""
        return _MODELSCOPE + self.name if self.source is Source.MODELSCOPE else self.name

    @property
    def basename(self) -> str:
        """The last part of the name."""
        return Path(self.name).name if self.source is Source.FOLDER else self.name.rsplit("/", maxsplit=1)[-1]

    @property
    def hub_id(self) -> str | None:
        """`OWNER/NAME` if the name comes from a hub; None for a folder, whose name proves nothing."""
        return self.name if self.source in {Source.HUGGING_FACE, Source.MODELSCOPE} else None


def parse(text: str) -> Reference:
    """Parse the name of a model. An existing folder takes precedence over a hub's model of the same name.

    Raises:
        BadSetting: `text` is not a valid name.
    """
    text = text.strip()
    if text == _DEMO:
        return Reference(Source.DEMO, text)
    if text.startswith(_MODELSCOPE):
        return Reference(Source.MODELSCOPE, _hub_id(text.removeprefix(_MODELSCOPE), text))
    if text.startswith(_FOLDER_STARTS) or _is_folder(text):
        return Reference(Source.FOLDER, str(_absolute(text)))
    return Reference(Source.HUGGING_FACE, _hub_id(text, text))


def _is_folder(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_dir()
    except OSError:
        return False


def _absolute(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise BadSetting(f"the model {text!r} is not a path that can be followed: {error}") from error


def _hub_id(candidate: str, text: str) -> str:
    if not _HUB_ID.fullmatch(candidate) or ".." in candidate or "--" in candidate or candidate.endswith((".git", ".", "-")):
        raise BadSetting(f"{text!r} does not name a model; write {_FORMS}")
    return candidate
