"""Computes the floor of a request: the time of its arithmetic at this machine's matrix multiplication rate.

A command measures the rate on the shapes of the model. The tokens of a request are counted as the engine computes them: the
shared prefix once, then every document with the suffix.
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
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import OverflowPolicy, TokenPrompt

FLOOR_COMMAND: Final = (sys.executable, "-m", "benchmarks.engines.flops")
FLOOR_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of one request.

    Attributes:
        num_tokens: Number of tokens, the shared prefix counted once.
        num_pairs: Pairs of a token and a token that it attends to, itself included.
    """

    num_tokens: int
    num_pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The rate of this machine, and the arithmetic of the model.

    Attributes:
        flops_per_s: Measured rate of matrix products.
        linear_flops_per_token: FLOPs of a token in linear layers.
        attention_flops_per_pair: FLOPs of a pair in attention.
    """

    flops_per_s: float
    linear_flops_per_token: float
    attention_flops_per_pair: float

    def seconds(self, work: Work) -> float:
        """Return the seconds of this work at the measured rate."""
        flops = work.num_tokens * self.linear_flops_per_token + work.num_pairs * self.attention_flops_per_pair
        return flops / self.flops_per_s


def work_of(encoder: QwenEncoder, request: LoadRequest) -> Work:
    """Count the work of a request.

    Raises:
        InputTooLong: the request exceeds the encoder's limit.
    """
    encoded = encoder.encode_pairs(request.query, request.documents, on_overflow=OverflowPolicy.ERROR)
    prompts = [prompt for each in encoded for prompt in each.prompts if isinstance(prompt, TokenPrompt)]
    num_prefix = prompts[0].prefix.num_tokens
    return Work(
        num_tokens=num_prefix + sum(prompt.num_own_tokens for prompt in prompts),
        num_pairs=_triangle(num_prefix)
        + sum(prompt.num_own_tokens * num_prefix + _triangle(prompt.num_own_tokens) for prompt in prompts),
    )


def measure(command: Sequence[str]) -> Floor:
    """Run the command that measures the rate, and return the floor.

    Raises:
        UpstreamError: the command failed, took too long, or printed another result.
    """
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=FLOOR_S)
        fields = orjson.loads(done.stdout.strip().rpartition(b"\n")[2])
        return Floor(**{name: float(fields[name]) for name in Floor.__dataclass_fields__})
    except subprocess.CalledProcessError as error:
        last = (error.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise UpstreamError(f"The floor was not measured: {last}", is_retryable=False) from None
    except (OSError, subprocess.TimeoutExpired, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UpstreamError(f"The floor was not measured: {error!r}", is_retryable=False) from None


def _triangle(number: int) -> int:
    return number * (number + 1) // 2
