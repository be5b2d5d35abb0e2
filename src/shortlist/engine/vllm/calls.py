"""Splits batches into calls to vLLM servers, and limits retries. Pure policy.

A batch becomes one call per available server. vLLM forms its own batches from the prompts of all calls, so smaller calls only
add cost. Retries are limited to a share of first attempts, so an unhealthy server never gets much more than its share.

Source: the idea of retry budgets in Envoy's and Finagle's documentation: fixed retries multiply load when it hurts most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from shortlist.types import TokenPrompt, num_batch_tokens

MIN_TOKENS: Final = 1024
"""Minimum size of a call when a batch is split over several servers: calls have a fixed cost."""

SHARE: Final = 0.1
"""Retries earned per first attempt."""

BURST: Final = 10.0
"""Initial and maximum retry budget: a failing server fails several calls at once."""


def cut(prompts: Sequence[TokenPrompt], num_servers: int) -> Iterator[list[TokenPrompt]]:
    """Split a batch into calls, in order; all servers get a call if the batch is large enough.

    A prefix counts once per call: the server computes it once and caches it for the others.
    """
    most = max(-(-num_batch_tokens(prompts) // num_servers), MIN_TOKENS)
    call: list[TokenPrompt] = []
    prefixes: set[int] = set()
    num_tokens = 0
    for prompt in prompts:
        if call and num_tokens + _cost(prompt, prefixes) > most:
            yield call
            call, prefixes, num_tokens = [], set(), 0
        num_tokens += _cost(prompt, prefixes)
        prefixes.add(id(prompt.prefix))
        call.append(prompt)
    if call:
        yield call


def _cost(prompt: TokenPrompt, prefixes: set[int]) -> int:
    return prompt.num_own_tokens + (0 if id(prompt.prefix) in prefixes else prompt.prefix.num_tokens)


class RetryBudget:
    """Retry budget: every first attempt adds a fraction, every retry costs one."""

    def __init__(self) -> None:
        self._saved = BURST

    def earn(self) -> None:
        """Count a first attempt."""
        self._saved = min(BURST, self._saved + SHARE)

    def spend(self, num: int = 1) -> bool:
        """Return whether this many retries are allowed; if so, count them."""
        if self._saved < num:
            return False
        self._saved -= num
        return True
