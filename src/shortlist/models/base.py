"""The description of a model family, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shortlist.config import ModelSettings
from shortlist.engine.base import Engine, Notify
from shortlist.errors import ModelRefused
from shortlist.installation import install_hint
from shortlist.text.encoder import Encoder
from shortlist.types import Operation, TokenPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadContext:
    """What loading depends on besides the model.

    Attributes:
        settings: Model settings (device, dtype, limits).
        samples: Returns the calibration texts as prompts of an encoder.
        notify: Reports progress.
        is_wanted: Whether loading is still wanted; if not, it is aborted.
    """

    settings: ModelSettings
    samples: Callable[[Encoder], Sequence[TokenPrompt]]
    notify: Notify
    is_wanted: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The verified files of a model.

    Attributes:
        name: The model's name in messages.
        path: Their folder.
        digest: Digest of all files that can change a score.
    """

    name: str
    path: Path
    digest: str


Load = Callable[[ModelFiles, LoadContext], tuple[Engine, Encoder]]
"""Loads the engine and the encoder of a model.

Raises:
    BadSetting: a setting does not fit the model.
    ModelRefused: it cannot be served, or a package is missing.
    EngineUnavailable: a process exited, or loading was aborted.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VllmSupport:
    """How vLLM serves a family.

    Attributes:
        encoder: Returns the encoder for a folder, a length limit in tokens and the model settings.
        hf_overrides: Changes to the model's `config.json`; empty for none.
    """

    encoder: Callable[[Path, int, ModelSettings], Encoder]
    hf_overrides: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelFamily:
    """A family of models.

    Attributes:
        name: Its name in messages and reports.
        operations: The operations that its models support.
        default_operations: Those that are served if the user does not declare one.
        load: Loads a model in this process, by engine (see `engine.registry`), the preferred one first.
        vllm: How vLLM serves it; None if it does not.
        understands: Whether the self-test expects it to separate right from wrong documents in the bundled pairs.
    """

    name: str
    operations: frozenset[Operation]
    load: Mapping[str, Load]
    default_operations: frozenset[Operation] | None = None
    vllm: VllmSupport | None = None
    understands: bool = False

    @property
    def engine(self) -> str:
        """The preferred engine."""
        return next(iter(self.load))


@dataclass(frozen=True, slots=True)
class Detection:
    """The family of a model, and the reason in one sentence."""

    family: ModelFamily
    why: str


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Turn a missing library into an error with the install command."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModelRefused(f"This model needs {error.name}, which is not installed: {install_hint(name)}") from None
