"""What travels between us and a worker, over a socket that nobody else has.

A batch goes as one array, however many prompts it has: writing and reading a thousand small ones takes milliseconds on either
side, in which the event loop, or the device, would wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from shortlist.engine.base import Engine
from shortlist.errors import ServiceError
from shortlist.types import Batch, Ids, Task, TokenPrefix, TokenPrompt, Value, WorkItem

Method = Literal["score", "embed", "explain"]
"""What an engine is asked."""

Result = Value | Mapping[str, float]
Values = list[Any] | npt.NDArray[np.float32]
"""One result per item; vectors as one array."""


class LoadEngine(Protocol):
    """Loads an engine on a device. It is sent to the worker, by name if it is a function."""

    def __call__(self, *, device: str) -> Engine:
        """Return the engine."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class StartMessage:
    """The first message to a worker. It is answered by an `EngineInfo`, or by the error that keeps it from loading."""

    load: LoadEngine
    device: str
    configure_logging: Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """A batch of token ids.

    Attributes:
        task: What to compute.
        prefix_lengths: Tokens of every head.
        lengths: Tokens of every prompt after its head.
        prefixes: Which head every prompt has.

    Shapes:
        ids: [all tokens] int32: every head, then every prompt.
    """

    task: Task
    ids: Ids
    prefix_lengths: tuple[int, ...]
    lengths: tuple[int, ...]
    prefixes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ComputeCall:
    """A batch to compute."""

    number: int
    method: Method
    batch: PackedBatch


@dataclass(frozen=True, slots=True, eq=False)
class RemoteCall:
    """Something else to do beside the engine."""

    number: int
    function: Callable[[], Any]


@dataclass(frozen=True, slots=True, eq=False)
class WorkerAnswer:
    """What came of a call, or of an errand."""

    number: int
    outcome: Any | ServiceError


def pack(batch: Batch) -> PackedBatch:
    """Return a batch as it travels; who its items belong to stays here."""
    prompts = [prompt for item in batch.items if isinstance(prompt := item.prompt, TokenPrompt)]
    assert len(prompts) == len(batch.items), "Workers are asked by token ids. This is a bug."
    prefixes = {id(prompt.prefix): prompt.prefix for prompt in prompts}
    places = {key: place for place, key in enumerate(prefixes)}
    return PackedBatch(
        batch.task,
        np.concatenate([*(prefix.ids for prefix in prefixes.values()), *(prompt.ids for prompt in prompts)]),
        tuple(prefix.num_tokens for prefix in prefixes.values()),
        tuple(prompt.num_tokens for prompt in prompts),
        tuple(places[id(prompt.prefix)] for prompt in prompts),
    )


def unpack(packed: PackedBatch) -> Batch:
    """Return the batch: prompts that had a head in common have it again."""
    pieces = _pieces(packed.ids, (*packed.prefix_lengths, *packed.lengths))
    prefixes = [TokenPrefix(next(pieces)) for _ in packed.prefix_lengths]
    prompts = (TokenPrompt(prefixes[place], next(pieces)) for place in packed.prefixes)
    return Batch(packed.task, tuple(WorkItem(0, index, prompt) for index, prompt in enumerate(prompts)))


def pack_values(values: Sequence[Result]) -> Values:
    """Return what an engine computed as it travels."""
    vectors = [value for value in values if isinstance(value, np.ndarray)]
    return np.stack(vectors) if vectors else list(values)


def _pieces(ids: Ids, lengths: Sequence[int]) -> Iterator[Ids]:
    ends = accumulate(lengths)
    return (ids[end - length : end] for length, end in zip(lengths, ends, strict=True))
