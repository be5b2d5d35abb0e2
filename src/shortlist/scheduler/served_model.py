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
from shortlist.scheduler.shared_cache import SharedCache
from shortlist.scheduler.single_flight import InFlight
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.types import ModelCard, Priority, Task, basename


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What a kind of model is known to do, which the self-test holds it to.

    Attributes:
        understands: Whether it must tell right from wrong documents in the bundled pairs: it was trained for any text.
        remedy: What to do if it does not keep these, where that is known; a sentence.
        suffix: The token ids that every prompt ends in, whatever was cut; none for models that frame their texts themselves.
    """

    understands: bool = False
    suffix: tuple[int, ...] = ()
    remedy: str = ""


NO_EXPECTATIONS: Final = Expectations()

ANY_MODEL: Final = frozenset({"default", "default/not-specified"})
"""Names that clients send when nobody named a model. Source: infinity-client's default; LocalAI's and others' settings."""

RAGFLOW_MARK: Final = "___"
"""What RAGFlow puts between a model's name and its own name of the provider. Source: its rag/llm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModel:
    """One model's text, engine and scheduler. The rooms of two stacks know nothing of each other.

    Attributes:
        in_flight: What is being computed, for each priority: nobody who is in a hurry waits for somebody who is not.
        restart: Loads the engine anew when it is gone; None if the server is to end then.
        restart_s: How long that takes, about; None if nobody should wait for it.
        wait_failed: Raises once the engine is gone though nobody asked it anything; None if it does not go unasked.
    """

    card: ModelCard
    encoder: Encoder
    engine: Engine
    dispatcher: Dispatcher
    admission: Admission
    cache: ScoreCache
    in_flight: Mapping[Priority, InFlight[Entry | ServiceError]]
    metrics: Metrics
    expectations: Expectations = NO_EXPECTATIONS
    restart: Callable[[], Awaitable[None]] | None = None
    restart_s: float | None = None
    wait_failed: Callable[[], Awaitable[None]] | None = None
    shared: SharedCache | None = None

    @property
    def name(self) -> str:
        """The name it is served under."""
        return self.card.name


@dataclass(slots=True)
class ModelRegistry:
    """Finds the stack that a request means.

    Names are tried as configured, then case-insensitively by their last part (`qwen3-reranker-0.6b`), also without what
    RAGFlow appends to it. A request without a name, or with one that stands for none, gets the first model that can do its
    task; so does one with an unknown name, if `unknown_model` is "default".
    """

    served_models: Sequence[ServedModel]
    unknown_model: UnknownModels = "error"
    _by_name: dict[str, ServedModel] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {}
        for served in self.served_models:
            for name in (served.name, *served.card.aliases):
                self._add(name, served)
        for served in self.served_models:
            self._by_name.setdefault(basename(served.name), served)

    def find(self, name: str | None, task: Task | None = None) -> ServedModel:
        """Return the stack for this name and task; None for a task that every model can do.

        Raises:
            UnknownModel: no model of this name is served, or none can do this task.
            WrongModel: the model of this name cannot do this task.
        """
        served = self._named(name) if name else None
        if served is None:
            return self._default(task)
        if task is not None and task not in served.card.tasks:
            raise WrongModel(f"The model {served.name} does not {task.value}; {self._able(task)}.", param="model")
        return served

    def _named(self, name: str) -> ServedModel | None:
        """Return the stack that a name means, or None where it means the default."""
        served = self._by_name.get(name) or self._by_name.get(basename(name))
        served = served or self._by_name.get(basename(name.partition(RAGFLOW_MARK)[0]))
        if served is None and self.unknown_model == "error" and name.lower() not in ANY_MODEL:
            raise UnknownModel(f"No such model is served. Served here: {self._names()}.", param="model")
        return served

    def _default(self, task: Task | None) -> ServedModel:
        for served in self.served_models:
            if task is None or task in served.card.tasks:
                return served
        wanted = f"No model here can {task.value}" if task else "No model is served"
        raise UnknownModel(f"{wanted}. Served here: {self._names()}.", param="model")

    def _add(self, name: str, served: ServedModel) -> None:
        if self._by_name.setdefault(name, served) is not served:
            raise one_name_for_two(name)

    def _names(self) -> str:
        return ", ".join(served.name for served in self.served_models) or "nothing"

    def _able(self, task: Task) -> str:
        able = [served.name for served in self.served_models if task in served.card.tasks]
        return f"served for that: {', '.join(able)}" if able else "no model here does"


def one_name_for_two(name: str) -> BadSetting:
    """Return the error of two models that would be told apart by nothing."""
    return BadSetting(f"Two models would be served under the name {name!r}; rename a folder, or drop an alias.")
