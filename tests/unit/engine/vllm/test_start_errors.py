"""Of vLLM's many lines, the person hears how far it is, and what to change if it fails."""

from __future__ import annotations

import pytest

from shortlist.engine.vllm.start_errors import dtype_in, progress, start_error

# Source: lines as vLLM 0.32 writes them, and PyTorch's own message.
FREE = (
    "ValueError: Free memory on device cuda:0 (10.5/79.25 GiB) on startup is less than desired GPU memory utilization "
    "(0.92, 72.91 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
)
TOO_LONG = (
    "ValueError: To serve at least one request with the model's max seq len (40960), (4.38 GiB KV cache is needed, which is "
    "larger than the available KV cache memory (1.25 GiB). Based on the available memory, the estimated maximum model length "
    "is 11680. Try increasing `gpu_memory_utilization`"
)
CUDA = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB of which "
    "512.00 MiB is free. Including non-PyTorch memory"
)
NODE = (
    "ValueError: Available memory on node 0 (3.1/23.5 GiB) on kv cache allocation is less than requested memory for kv "
    "(4.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory"
)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "(EngineCore pid=7) INFO 11-20 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config:",
            "starts its engine",
        ),
        ("(Worker pid=7) INFO [cpu_model_runner.py:68] Starting to load model /m...", "loads the weights"),
        ("(Worker pid=7) INFO [default_loader.py:501] Loading weights took 2.98 seconds", "has loaded the weights"),
        ("INFO:     Application startup complete.", "answers"),
        ("INFO [launcher.py:195] Route: /v1/rerank, Methods: POST", None),
        ("", None),
    ],
)
def test_milestones_are_passed_on_and_nothing_else(line: str, said: str | None) -> None:
    assert progress(line) == said


def test_dtype_is_read_from_the_error() -> None:
    assert (
        dtype_in("Initializing a V1 LLM engine with config: model='/m', dtype=torch.bfloat16, max_seq_len=8192") == "bfloat16"
    )
    assert dtype_in("kv_cache_dtype=auto") is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (FREE, ["10.5 of 79.2 GiB free", "gpu_memory_utilization", "from 0.92 to 0.11"]),
        (TOO_LONG, ["40960 tokens", "4.38 GiB", "max_model_len", "to 11680"]),
        (CUDA, ["2.00 GiB", "0.50", "gpu_memory_utilization", "by 0.03", "max_num_batched_tokens", "half"]),
        ("RuntimeError: CUDA out of memory occurred when warming up pooler", ["gpu_memory_utilization", "by 0.05"]),
        (
            "ValueError: No available memory for the cache blocks. Try",
            ["raise gpu_memory_utilization", "--tensor-parallel-size"],
        ),
        (NODE, ["3.1 of 23.5 GiB", "4.0 GiB were asked for", "VLLM_CPU_KVCACHE_SPACE"]),
        ("vllm: error: unrecognized arguments: --swap-space 4", ["--swap-space", "--vllm-arg"]),
        ("OSError: [Errno 98] Address already in use", ["port"]),
    ],
)
def test_failures_name_the_setting_and_by_how_much(line: str, words: list[str]) -> None:
    said = start_error(["INFO something", line, "INFO something else"])
    assert said is not None
    assert [word for word in words if word not in said] == []


def test_lower_share_would_have_fit() -> None:
    """10.5 of 79.25 GiB are 13 %."""
    said = start_error([FREE])
    assert said is not None
    assert 0 < float(said.split(" to ")[1].split()[0]) * 79.25 < 10.5


def test_unknown_error_is_not_explained() -> None:
    assert start_error(["RuntimeError: Engine core initialization failed"]) is None
