"""One served model with everything that its requests pass through, and the names it goes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shortlist.config import UnknownModels
from shortlist.engine.base import Engine
from shortlist.errors import BadSetting, ServiceError, UnknownModel, WrongModel
from shortlist.scheduler.admission import Admission
from shortlist.scheduler.cache import Entry, ScoreCache
from shortlist.scheduler.dispatcher import Dispatcher
from shortlist.scheduler.flights import Flights
from shortlist.scheduler.shared import SharedCache
from shortlist.telemetry import Metrics
from shortlist.text.base import Encoder
from shortlist.types import ModelCard, Priority, Task, basename


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a kind of model is known to do, which the self-test holds it to.

    Attributes:
        understands: Whether it must tell right from wrong documents in the bundled pairs: it was trained for any text.
        remedy: What to do if it does not keep these, where that is known; a sentence.
        suffix: The token ids that every prompt ends in, whatever was cut; none for models that frame their texts themselves.
    """

    understands: bool = False
    suffix: tuple[int, ...] = ()
    remedy: str = ""


NO_PROMISE: Final = Promise()

ANY_MODEL: Final = frozenset({"default", "default/not-specified"})
"""Names that clients send when nobody named a model. Source: infinity-client's default; LocalAI's and others' settings."""

RAGFLOW_MARK: Final = "___"
"""What RAGFlow puts between a model's name and its own name of the provider. Source: its rag/llm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """One model's text, engine and scheduler. The rooms of two stacks know nothing of each other.

    Attributes:
        flights: What is being computed, for each priority: nobody who is in a hurry waits for somebody who is not.
        restart: Loads the engine anew when it is gone; None if the server is to end then.
        restart_s: How long that takes, about; None if nobody should wait for it.
        watch: Raises once the engine is gone though nobody asked it anything; None if it does not go unasked.
    """

    card: ModelCard
    encoder: Encoder
    engine: Engine
    dispatcher: Dispatcher
    admission: Admission
    cache: ScoreCache
    flights: Mapping[Priority, Flights[Entry | ServiceError]]
    metrics: Metrics
    promise: Promise = NO_PROMISE
    restart: Callable[[], Awaitable[None]] | None = None
    restart_s: float | None = None
    watch: Callable[[], Awaitable[None]] | None = None
    shared: SharedCache | None = None

    @property
    def name(self) -> str:
        """The name it is served under."""
        return self.card.name


@dataclass(slots=True)
class Registry:
    """Finds the stack that a request means.

    Names are tried as configured, then case-insensitively by their last part (`qwen3-reranker-0.6b`), also without what
    RAGFlow appends to it. A request without a name, or with one that stands for none, gets the first model that can do its
    task; so does one with an unknown name, if `unknown_model` is "default".
    """

    stacks: Sequence[Stack]
    unknown_model: UnknownModels = "error"
    _by_name: dict[str, Stack] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {}
        for stack in self.stacks:
            for name in (stack.name, *stack.card.aliases):
                self._add(name, stack)
        for stack in self.stacks:
            self._by_name.setdefault(basename(stack.name), stack)

    def find(self, name: str | None, task: Task | None = None) -> Stack:
        """Return the stack for this name and task; None for a task that every model can do.

        Raises:
            UnknownModel: no model of this name is served, or none can do this task.
            WrongModel: the model of this name cannot do this task.
        """
        stack = self._named(name) if name else None
        if stack is None:
            return self._default(task)
        if task is not None and task not in stack.card.tasks:
            raise WrongModel(f"The model {stack.name} does not {task.value}; {self._able(task)}.", param="model")
        return stack

    def _named(self, name: str) -> Stack | None:
        """Return the stack that a name means, or None where it means the default."""
        stack = self._by_name.get(name) or self._by_name.get(basename(name))
        stack = stack or self._by_name.get(basename(name.partition(RAGFLOW_MARK)[0]))
        if stack is None and self.unknown_model == "error" and name.lower() not in ANY_MODEL:
            raise UnknownModel(f"No such model is served. Served here: {self._names()}.", param="model")
        return stack

    def _default(self, task: Task | None) -> Stack:
        for stack in self.stacks:
            if task is None or task in stack.card.tasks:
                return stack
        wanted = f"No model here can {task.value}" if task else "No model is served"
        raise UnknownModel(f"{wanted}. Served here: {self._names()}.", param="model")

    def _add(self, name: str, stack: Stack) -> None:
        if self._by_name.setdefault(name, stack) is not stack:
            raise one_name_for_two(name)

    def _names(self) -> str:
        return ", ".join(stack.name for stack in self.stacks) or "nothing"

    def _able(self, task: Task) -> str:
        able = [stack.name for stack in self.stacks if task in stack.card.tasks]
        return f"served for that: {', '.join(able)}" if able else "no model here does"


def one_name_for_two(name: str) -> BadSetting:
    """Return the error of two models that would be told apart by nothing."""
    return BadSetting(f"Two models would be served under the name {name!r}; rename a folder, or drop an alias.")
