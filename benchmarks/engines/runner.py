"""Everyone who takes part: started together, asked the same, and out once something is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self, TypeVar

from benchmarks.engines.agreement import compare
from benchmarks.engines.memory import Gpu, Shares
from benchmarks.engines.process import END_S, ContenderProcess, Spec
from benchmarks.engines.protocol import Ready
from benchmarks.engines.report import ReportEntry
from benchmarks.engines.saturation import SHARE, answer_s, documents_per_s
from benchmarks.engines.spec import RunSpec
from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError

HURRY_S: Final = 2.0
"""How long contenders may take to end when the run did not reach its end."""

T = TypeVar("T")
Tick = Callable[[str], None]
"""Hears the name of a contender about to be asked."""


class Field:
    """The contenders of one run; to be used as a context, which ends them all.

    Those that fail, or whose scores are too far from the reference's, are out: not asked again, and why is in their entry.

    Args:
        order: Who takes part, and how long each may take.
        folder: Where the model is.
        notify: Hears at once why a contender is out; an hour later is too late to put it right.
        gpu: The GPU that they share, if they are on one.
    """

    def __init__(self, order: RunSpec, folder: str, notify: Callable[[str], None], gpu: Gpu | None = None) -> None:
        self._order = order
        self._say = notify
        self._arguments = order.arguments(folder)
        self._running: dict[str, ContenderProcess] = {}
        self._shares = Shares(gpu)
        self.entries = {
            spec.name: ReportEntry(name=spec.name, command=spec.command, max_rms=order.bounds.of(spec.name))
            for spec in order.contenders
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        patience_s = END_S if kind is None else HURRY_S
        with ExitStack() as ends:  # the last one too, whatever goes wrong with the others
            for contender in self._running.values():
                ends.callback(contender.close, patience_s)
        self._running.clear()

    @property
    def names(self) -> list[str]:
        """Who is still in."""
        return list(self._running)

    def start(self, tick: Tick) -> None:
        """Start everyone, one after the other.

        Raises:
            UpstreamError: the reference cannot run, so that no target can be compared with it.
        """
        for spec in self._order.contenders:
            tick(spec.name)
            ready = self._attempt(spec.name, partial(self._started, spec))
            if ready is not None:
                self.entries[spec.name] = replace(self.entries[spec.name], ready=ready)

    def check(self, requests: Sequence[LoadRequest], tick: Tick) -> None:
        """Compare everyone's scores with the reference's.

        Raises:
            UpstreamError: the reference has none.
        """
        scores: dict[str, list[list[float]]] = {}
        for name in self.names:
            tick(name)
            found = self._attempt(name, partial(self._scores, name, requests))
            if found is not None:
                scores[name] = found
        for name, found in scores.items():
            agreement = compare(found, scores[self._order.reference])
            self.entries[name] = entry = replace(self.entries[name], agreement=agreement)
            if agreement.rms > entry.max_rms:
                self._out(name, f"{name} is not ranked: its scores are {agreement.rms:.2f} apart, {entry.max_rms:g} is allowed")
        for name in self._order.check_only:
            self._end(name)

    def play(self, request: LoadRequest, draw: Random, tick: Tick) -> Mapping[str, float]:
        """Ask everyone the same once, in a new random order, and return the seconds each took.

        An idle target is stopped meanwhile, from the first round on.
        """
        return self._each(draw, tick, lambda _, contender: contender.ask(request, self._order.answer_s)[1])

    def fill(self, requests: Mapping[str, Sequence[LoadRequest]], draw: Random, tick: Tick) -> Mapping[str, float]:
        """Give everyone as many requests at once as they like; return how many documents a second each answered.

        Args:
            requests: What to ask of whom.
            draw: Draws the order.
            tick: Hears who is next.
        """

        def rate(name: str, contender: ContenderProcess) -> float:
            return documents_per_s(contender, requests[name], self.at_once(name), self._order.answer_s)

        return self._each(draw, tick, rate)

    def trickle(
        self, requests: Mapping[str, Sequence[LoadRequest]], per_s: Mapping[str, float], draw: Random, tick: Tick
    ) -> Mapping[str, Sequence[float]]:
        """Have requests arrive at everyone, a share of those that each can do; return the seconds that each took.

        Args:
            requests: What to ask of whom.
            per_s: How many requests a second each can do.
            draw: Draws the order, and when they arrive.
            tick: Hears who is next.
        """
        seed = str(draw.random())

        def seconds(name: str, contender: ContenderProcess) -> Sequence[float]:
            return answer_s(contender, requests[name], SHARE * per_s[name], seed, self._order.answer_s)

        return self._each(draw, tick, seconds)

    def at_once(self, name: str) -> int:
        """Return how many requests a contender likes to have under way."""
        ready = self.entries[name].ready
        return ready.at_once if ready else 1

    def _each(self, draw: Random, tick: Tick, do: Callable[[str, ContenderProcess], T]) -> dict[str, T]:
        """Return what comes of everyone, in a new random order; nothing of those that are out for it."""
        names = self.names
        draw.shuffle(names)
        found = {}
        for name in names:
            tick(name)
            each = self._attempt(name, partial(self._awake, name, do))
            if each is not None:
                found[name] = each
        return found

    def _awake(self, name: str, do: Callable[[str, ContenderProcess], T]) -> T:
        contender = self._running[name]
        contender.wake()
        found = do(name, contender)
        contender.rest()
        return found

    def weigh(self) -> None:
        """Note how much memory everyone needed who is still in."""
        for name in self._running:
            self._weigh(name)

    def _weigh(self, name: str) -> None:
        peak_bytes, gpu_bytes = self._running[name].peak_bytes(), self._shares.most(name)
        self.entries[name] = replace(self.entries[name], peak_bytes=peak_bytes, gpu_bytes=gpu_bytes)

    def _started(self, spec: Spec) -> Ready:
        contender = ContenderProcess(spec, self._arguments)
        self._running[spec.name] = contender
        return contender.wait_ready(self._order.ready_s)

    def _scores(self, name: str, requests: Sequence[LoadRequest]) -> list[list[float]]:
        return [self._running[name].ask(request, self._order.answer_s)[0] for request in requests]

    def rest(self) -> None:
        """Stop everyone, until they are asked or ended."""
        for contender in self._running.values():
            contender.rest()

    def _attempt(self, name: str, do: Callable[[], T]) -> T | None:
        """Return what came of it, or None when the contender is out for it. Without the reference there is no run."""
        try:
            with self._shares.counted(name):
                return do()
        except UpstreamError as error:
            self._out(name, error.message)
            if name == self._order.reference:
                raise
            return None

    def _out(self, name: str, why: str) -> None:
        self.entries[name] = replace(self.entries[name], why_not=why)
        self._say(why)
        self._end(name)

    def _end(self, name: str) -> None:
        """Let a contender go, and note how much memory it needed, if it got as far as being ready."""
        if name not in self._running:
            return
        if self.entries[name].ready is not None:
            self._weigh(name)
        self._running.pop(name).close()
