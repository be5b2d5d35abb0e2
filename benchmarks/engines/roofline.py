"""The least time a request can take: the arithmetic it cannot do without, at the rate that this machine multiplies matrices.

The rate is measured by a command of the engine's, on the shapes of the model. A request is counted as the engine reads it:
what all its prompts begin with once, then every document with what follows it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from shortlist.bench.texts import LoadRequest
from shortlist.errors import UpstreamError
from shortlist.text.qwen_encoder import QwenEncoder
from shortlist.types import OverflowPolicy, TokenPrompt

FLOOR_COMMAND: Final = (sys.executable, "-m", "benchmarks.engines.flops")
FLOOR_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one request costs.

    Attributes:
        num_tokens: Tokens to be read, the shared beginning once.
        num_pairs: Pairs of a token and one that it looks back at, itself included.
    """

    num_tokens: int
    num_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """How fast this machine is at the arithmetic of this model.

    Attributes:
        flops_per_s: Measured rate of its matrix products.
        linear_flops_per_token: What a token costs in them.
        attention_flops_per_pair: What a pair costs in attention.
    """

    flops_per_s: float
    linear_flops_per_token: float
    attention_flops_per_pair: float

    def seconds(self, work: Work) -> float:
        """Return the least seconds for this work."""
        flops = work.num_tokens * self.linear_flops_per_token + work.num_pairs * self.attention_flops_per_pair
        return flops / self.flops_per_s


def work_of(encoder: QwenEncoder, request: LoadRequest) -> Work:
    """Count what a request costs.

    Raises:
        InputTooLong: it does not fit into the model.
    """
    encoded = encoder.encode_pairs(request.query, request.documents, on_overflow=OverflowPolicy.ERROR)
    prompts = [prompt for each in encoded for prompt in each.prompts if isinstance(prompt, TokenPrompt)]
    num_prefix = prompts[0].prefix.num_tokens
    return Work(
        num_tokens=num_prefix + sum(prompt.num_tokens for prompt in prompts),
        num_pairs=_triangle(num_prefix)
        + sum(prompt.num_tokens * num_prefix + _triangle(prompt.num_tokens) for prompt in prompts),
    )


def measure(command: Sequence[str]) -> Floor:
    """Run the command that measures the rate, and return what it found.

    Raises:
        UpstreamError: it failed, took too long, or said something else.
    """
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=FLOOR_S)
        found = orjson.loads(done.stdout.strip().rpartition(b"\n")[2])
        return Floor(**{name: float(found[name]) for name in Floor.__dataclass_fields__})
    except subprocess.CalledProcessError as error:
        last = (error.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise UpstreamError(f"The floor was not measured: {last}", is_retryable=False) from None
    except (OSError, subprocess.TimeoutExpired, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamError(f"The floor was not measured: {error!r}", is_retryable=False) from None


def _triangle(number: int) -> int:
    return number * (number + 1) // 2
