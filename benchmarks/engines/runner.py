"""Runs the contenders: starts them, sends them the same requests, and drops a contender that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self, TypeVar

from benchmarks.engines.agreement import compare
from benchmarks.engines.memory import Gpu, GpuShares
from benchmarks.engines.process import END_S, ContenderProcess, Spec
from benchmarks.engines.protocol import Ready
from benchmarks.engines.report import ReportEntry
from benchmarks.engines.saturation import LOAD_SHARE, answer_s, documents_per_s
from benchmarks.engines.spec import RunSpec
from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError

INTERRUPTED_END_S: Final = 2.0
"""Time limit for contenders to exit after an interrupted run."""

T = TypeVar("T")
Tick = Callable[[str], None]
"""Called with the name of the next contender."""


class ContenderRunner:
    """The contenders of one run; a context manager that ends them all.

    A contender is dropped if it fails or if its scores are too far from the reference scores. It gets no more requests, and its
    entry has the reason.

    Args:
        run_spec: The contenders and the time limits.
        folder: The model folder.
        notify: Called at once with the reason when a contender is dropped, because a run may take an hour.
        gpu: The GPU that the contenders share; None without a GPU.
    """

    def __init__(self, run_spec: RunSpec, folder: str, notify: Callable[[str], None], gpu: Gpu | None = None) -> None:
        self._run_spec = run_spec
        self._notify = notify
        self._arguments = run_spec.arguments(folder)
        self._running: dict[str, ContenderProcess] = {}
        self._gpu_shares = GpuShares(gpu)
        self.entries = {
            spec.name: ReportEntry(name=spec.name, command=spec.command, max_rms=run_spec.bounds.of(spec.name))
            for spec in run_spec.contenders
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        timeout_s = END_S if kind is None else INTERRUPTED_END_S
        with ExitStack() as closing:  # closes every contender, even if another one raises
            for contender in self._running.values():
                closing.callback(contender.close, timeout_s)
        self._running.clear()

    @property
    def names(self) -> list[str]:
        """Names of the contenders that were not dropped."""
        return list(self._running)

    def start(self, tick: Tick) -> None:
        """Start all contenders, one after the other.

        Raises:
            UpstreamError: the reference cannot run, so that no contender can be compared with it.
        """
        for spec in self._run_spec.contenders:
            tick(spec.name)
            ready = self._attempt(spec.name, partial(self._start, spec))
            if ready is not None:
                self.entries[spec.name] = replace(self.entries[spec.name], ready=ready)

    def check(self, requests: Sequence[LoadRequest], tick: Tick) -> None:
        """Compare the scores of all contenders with the reference scores.

        Raises:
            UpstreamError: the reference failed.
        """
        scores: dict[str, list[list[float]]] = {}
        for name in self.names:
            tick(name)
            results = self._attempt(name, partial(self._scores, name, requests))
            if results is not None:
                scores[name] = results
        for name, results in scores.items():
            agreement = compare(results, scores[self._run_spec.reference])
            self.entries[name] = entry = replace(self.entries[name], agreement=agreement)
            if agreement.rms > entry.max_rms:
                self._drop(
                    name,
                    f"{name} is not ranked: its scores differ by {agreement.rms:.2f} (RMS), but {entry.max_rms:g} is the limit",
                )
        for name in self._run_spec.check_only:
            self._end(name)

    def run_round(self, request: LoadRequest, rng: Random, tick: Tick) -> Mapping[str, float]:
        """Send one request to all contenders, in a new random order; return the seconds of each.

        Idle contenders are stopped, from the first round on.
        """
        return self._for_each(rng, tick, lambda _, contender: contender.ask(request, self._run_spec.answer_s)[1])

    def saturate(self, requests: Mapping[str, Sequence[LoadRequest]], rng: Random, tick: Tick) -> Mapping[str, float]:
        """Send concurrent requests to each contender; return its documents per second.

        Args:
            requests: Requests by contender.
            rng: Draws the order.
            tick: Called with the name of the next contender.
        """

        def rate(name: str, contender: ContenderProcess) -> float:
            return documents_per_s(contender, requests[name], self.at_once(name), self._run_spec.answer_s)

        return self._for_each(rng, tick, rate)

    def send_arrivals(
        self, requests: Mapping[str, Sequence[LoadRequest]], per_s: Mapping[str, float], rng: Random, tick: Tick
    ) -> Mapping[str, Sequence[float]]:
        """Send requests to each contender at random times, at a share of its throughput; return the seconds of the answers.

        Args:
            requests: Requests by contender.
            per_s: Throughput in requests per second, by contender.
            rng: Draws the order and the arrival times.
            tick: Called with the name of the next contender.
        """
        seed = str(rng.random())

        def seconds(name: str, contender: ContenderProcess) -> Sequence[float]:
            return answer_s(contender, requests[name], LOAD_SHARE * per_s[name], seed, self._run_spec.answer_s)

        return self._for_each(rng, tick, seconds)

    def at_once(self, name: str) -> int:
        """Return the number of concurrent requests of a contender."""
        ready = self.entries[name].ready
        return ready.at_once if ready else 1

    def _for_each(self, rng: Random, tick: Tick, do: Callable[[str, ContenderProcess], T]) -> dict[str, T]:
        """Call a function for every contender, in a new random order; return the results of those that did not fail."""
        names = self.names
        rng.shuffle(names)
        results = {}
        for name in names:
            tick(name)
            each = self._attempt(name, partial(self._resumed, name, do))
            if each is not None:
                results[name] = each
        return results

    def _resumed(self, name: str, do: Callable[[str, ContenderProcess], T]) -> T:
        contender = self._running[name]
        contender.resume()
        result = do(name, contender)
        contender.pause()
        return result

    def record_memory(self) -> None:
        """Record the memory of all contenders that were not dropped."""
        for name in self._running:
            self._record_memory(name)

    def _record_memory(self, name: str) -> None:
        peak_bytes, gpu_bytes = self._running[name].peak_bytes(), self._gpu_shares.peak_bytes_of(name)
        self.entries[name] = replace(self.entries[name], peak_bytes=peak_bytes, gpu_bytes=gpu_bytes)

    def _start(self, spec: Spec) -> Ready:
        contender = ContenderProcess(spec, self._arguments)
        self._running[spec.name] = contender
        return contender.wait_ready(self._run_spec.ready_s)

    def _scores(self, name: str, requests: Sequence[LoadRequest]) -> list[list[float]]:
        return [self._running[name].ask(request, self._run_spec.answer_s)[0] for request in requests]

    def pause(self) -> None:
        """Stop the processes of all contenders until their next request, or the end."""
        for contender in self._running.values():
            contender.pause()

    def _attempt(self, name: str, do: Callable[[], T]) -> T | None:
        """Return the result of a call, or None if it fails and the contender is dropped. Raises if the reference fails."""
        try:
            with self._gpu_shares.measure(name):
                return do()
        except UpstreamError as error:
            self._drop(name, error.message)
            if name == self._run_spec.reference:
                raise
            return None

    def _drop(self, name: str, reason: str) -> None:
        self.entries[name] = replace(self.entries[name], why_not=reason)
        self._notify(reason)
        self._end(name)

    def _end(self, name: str) -> None:
        """End a contender; record its memory if it became ready."""
        if name not in self._running:
            return
        if self.entries[name].ready is not None:
            self._record_memory(name)
        self._running.pop(name).close()
