"""How large a step may be. Pure policy: less after a step did not fit into memory, and slowly more again."""

from __future__ import annotations

from typing import Final

STEPS_BEFORE_RAISING: Final = 64
"""So many steps must fit before a larger one is tried: a failure costs a step, and whoever took the memory may be gone."""


class Ceiling:
    """Most tokens in one step.

    Args:
        most: What was set; never exceeded.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.num_tokens = most
        self._num_fitted = 0

    def lower(self, num_tokens: int) -> None:
        """Learn that a step of so many tokens did not fit: from now on, half of it."""
        self.num_tokens = max(1, min(self.num_tokens, num_tokens // 2))
        self._num_fitted = 0

    def fits(self) -> None:
        """Learn that a step fitted."""
        self._num_fitted += 1
        if self._num_fitted >= STEPS_BEFORE_RAISING:
            self.num_tokens = min(self.most, 2 * self.num_tokens)
            self._num_fitted = 0
