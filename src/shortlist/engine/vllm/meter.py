"""What is counted of one vLLM server. Knows metrics and no connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shortlist.telemetry import Metrics

CHILD: Final = "child"
"""What a server of our own is called: its address is another one after every start, and a label has to stay bounded."""


class Meter:
    """The metrics of one server.

    Args:
        metrics: Where everything is counted.
        model: What it computes, by the name that is served.
        upstream: Its address as it was given, or `CHILD`.
    """

    def __init__(self, metrics: Metrics, model: str, upstream: str) -> None:
        self.requests = metrics.upstream_requests.labels(model, upstream)
        self.failures = metrics.upstream_failures.labels(model, upstream)
        self.retries = metrics.upstream_retries.labels(model, upstream)
        self.duration = metrics.upstream_duration.labels(model, upstream)
        self._up = metrics.upstream_up.labels(model, upstream)
        self._tokens = metrics.upstream_tokens.labels(model, upstream)

    def show(self, *, is_well: Callable[[], bool], num_tokens: Callable[[], int]) -> None:
        """Have these asked whenever somebody looks at the metrics, from any thread."""
        self._up.set_function(is_well)
        self._tokens.set_function(num_tokens)
