"""Messages between the server and a worker process, over a private socket.

A batch is sent as one array. A thousand small ones would take milliseconds on either side, in which the event loop or the
device waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from shortlist.engine.base import Engine
from shortlist.errors import ServiceError
from shortlist.types import Ids, Operation, Prompt, TokenPrefix, TokenPrompt, Value

Result = Value | Mapping[str, float]
Values = list[Any] | npt.NDArray[np.float32]
"""One result per item; vectors as one array."""


class LoadEngine(Protocol):
    """Loads an engine on a device. Pickled for the worker, by name if it is a function."""

    def __call__(self, *, device: str) -> Engine:
        """Return the engine."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StartMessage:
    """The first message to a worker. The answer is an `EngineInfo`, or the error of loading."""

    load: LoadEngine
    device: str
    configure_logging: Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class PackedPrompts:
    """Prompts as token ids.

    Attributes:
        prefix_lengths: Tokens of every prefix.
        lengths: Tokens of every prompt after its prefix.
        prefixes: Index of every prompt's prefix.

    Shapes:
        ids: [all tokens] int32: every prefix, then every prompt.
    """

    ids: Ids
    prefix_lengths: tuple[int, ...]
    lengths: tuple[int, ...]
    prefixes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ComputeCall:
    """Prompts to compute, or whose rerank scores to explain."""

    number: int
    operation: Operation
    prompts: PackedPrompts
    is_explained: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RemoteCall:
    """A function to run in the worker."""

    number: int
    function: Callable[[], Any]


@dataclass(frozen=True, slots=True, eq=False)
class WorkerAnswer:
    """Result of a call."""

    number: int
    outcome: Any | ServiceError


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Sent every `HEARTBEAT_S` by a worker that runs, whatever its engine does: a stopped process is silent, not closed."""


HEARTBEAT_S: Final = 1.0


def pack(prompts: Sequence[Prompt]) -> PackedPrompts:
    """Encode prompts."""
    token_prompts = [prompt for prompt in prompts if isinstance(prompt, TokenPrompt)]
    assert len(token_prompts) == len(prompts), "Workers take token ids only. This is a bug."
    prefixes = {id(prompt.prefix): prompt.prefix for prompt in token_prompts}
    places = {key: place for place, key in enumerate(prefixes)}
    return PackedPrompts(
        np.concatenate([*(prefix.ids for prefix in prefixes.values()), *(prompt.ids for prompt in token_prompts)]),
        tuple(prefix.num_tokens for prefix in prefixes.values()),
        tuple(prompt.num_own_tokens for prompt in token_prompts),
        tuple(places[id(prompt.prefix)] for prompt in token_prompts),
    )


def unpack(packed: PackedPrompts) -> list[Prompt]:
    """Decode prompts; shared prefixes are shared again."""
    pieces = _pieces(packed.ids, (*packed.prefix_lengths, *packed.lengths))
    prefixes = [TokenPrefix(next(pieces)) for _ in packed.prefix_lengths]
    return [TokenPrompt(prefixes[place], next(pieces)) for place in packed.prefixes]


def pack_values(values: Sequence[Result]) -> Values:
    """Encode the values of an engine."""
    vectors = [value for value in values if isinstance(value, np.ndarray)]
    return np.stack(vectors) if vectors else list(values)


def _pieces(ids: Ids, lengths: Sequence[int]) -> Iterator[Ids]:
    ends = accumulate(lengths)
    return (ids[end - length : end] for length, end in zip(lengths, ends, strict=True))
