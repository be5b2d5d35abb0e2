"""Explains vLLM's log lines of a failed start. Pure: lines in, sentences out.

It never returns the lines themselves: they are long, many, and may quote texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import floor
from typing import Final

# Source: log lines of vLLM 0.32 while it starts, in this order.
_MILESTONES: Final = (
    (re.compile(r"Initializing a V1 LLM engine"), "starts its engine"),
    (re.compile(r"Starting to load model"), "loads the weights"),
    (re.compile(r"Loading weights took ([\d.]+) seconds"), "has loaded the weights"),
    (re.compile(r"Warming up model|Dynamo bytecode transform"), "warms up, and compiles unless enforce_eager is set"),
    (re.compile(r"Capturing CUDA graphs|Graph capturing"), "captures CUDA graphs"),
    (re.compile(r"Application startup complete"), "answers"),
)

_DTYPE: Final = re.compile(r"\bdtype=torch\.(\w+)")


def progress(line: str) -> str | None:
    """Return the start progress that a line reports, or None."""
    return next((said for pattern, said in _MILESTONES if pattern.search(line)), None)


def dtype_in(line: str) -> str | None:
    """Return the dtype that a line reports, or None."""
    found = _DTYPE.search(line)
    return found[1] if found else None


def start_error(lines: Sequence[str]) -> str | None:
    """Return why vLLM did not start and what to change, from its last lines; None if that is not known."""
    text = "\n".join(lines)
    for pattern, explain in _FAILURES:
        found = pattern.search(text)
        if found:
            return explain(found)
    return None


def _no_free_memory(found: re.Match[str]) -> str:
    free, total = float(found[1]), float(found[2])
    most = floor(100 * free / total) / 100 - 0.02
    return (
        f"The device has {free:.1f} of {total:.1f} GiB free: lower gpu_memory_utilization (--gpu-memory-utilization) from "
        f"{found[3]} to {most:.2f} or less, or end what else uses the device."
    )


def _too_long(found: re.Match[str]) -> str:
    fits = re.search(r"estimated maximum model length is (\d+)", found.string)
    most = f" to {fits[1]} or less" if fits else ""
    return (
        f"One prompt of {found[1]} tokens needs {found[2]} GiB, and {found[3]} GiB are left: lower max_model_len "
        f"(--max-model-len){most}, or raise gpu_memory_utilization (--gpu-memory-utilization)."
    )


def _out_of_memory(found: re.Match[str]) -> str:
    needed = re.search(r"Tried to allocate ([\d.]+) ([KMG])iB", found.string)
    free = re.search(r"of which ([\d.]+) ([KMG])iB is free", found.string)
    total = re.search(r"total capacity of ([\d.]+) ([KMG])iB", found.string)
    if needed and free and total:
        share = max(0.0, (_gib(needed) - _gib(free)) / _gib(total))
        return (
            f"The GPU ran out of memory ({_gib(needed):.2f} GiB were wanted, {_gib(free):.2f} were free): lower "
            f"gpu_memory_utilization (--gpu-memory-utilization) by {share + 0.01:.2f}, or max_num_batched_tokens "
            "(--max-num-batched-tokens) to half."
        )
    return (
        "The GPU ran out of memory: lower gpu_memory_utilization (--gpu-memory-utilization) by 0.05, or "
        "max_num_batched_tokens (--max-num-batched-tokens) to half."
    )


def _gib(found: re.Match[str]) -> float:
    return float(found[1]) * {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1}[found[2]]


def _no_blocks(_: re.Match[str]) -> str:
    return (
        "The weights leave no memory to compute in: raise gpu_memory_utilization (--gpu-memory-utilization), lower "
        "max_num_batched_tokens (--max-num-batched-tokens), or spread the model with --tensor-parallel-size."
    )


def _no_cpu_memory(found: re.Match[str]) -> str:
    return (
        f"{found[1]} of {found[2]} GiB of memory are free, and {found[3]} GiB were asked for: lower VLLM_CPU_KVCACHE_SPACE "
        "(GiB), or gpu_memory_utilization (--gpu-memory-utilization), which counts on CPUs too."
    )


def _unknown_argument(found: re.Match[str]) -> str:
    return f"vLLM does not know an argument that it was given ({found[1].split()[0]}): look at --vllm-arg."


def _port(_: re.Match[str]) -> str:
    return "Something else took the port that vLLM was given; try again."


# Source: vLLM 0.32, `v1/worker/utils.py`, `v1/core/kv_cache_utils.py`, `v1/worker/cpu_worker.py`; PyTorch's own message.
_FAILURES: Final[Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]] = (
    (
        re.compile(
            r"Free memory on device \S+ \(([\d.]+)/([\d.]+) GiB\) on startup is less than desired GPU memory utilization "
            r"\(([\d.]+)"
        ),
        _no_free_memory,
    ),
    (re.compile(r"max seq len \((\d+)\), \(?([\d.]+) GiB KV cache is needed, .*? KV cache memory \(([\d.]+) GiB\)"), _too_long),
    (re.compile(r"No available memory for the cache blocks"), _no_blocks),
    (
        re.compile(
            r"Available memory on node \S+ \(([\d.]+)/([\d.]+) GiB\) on kv cache allocation is less than requested memory "
            r"for kv \(([\d.]+)"
        ),
        _no_cpu_memory,
    ),
    (re.compile(r"CUDA out of memory|OutOfMemoryError"), _out_of_memory),
    (re.compile(r"unrecognized arguments: (.+)"), _unknown_argument),
    (re.compile(r"[Aa]ddress already in use"), _port),
)
