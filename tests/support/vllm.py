"""A real vLLM to test with, started by our own engine or by hand; and prompts for it."""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import httpx2
import numpy as np
import pytest

from shortlist.engine.vllm.command import VllmPlan, process_environment, right_command
from shortlist.engine.vllm.process import VllmProcess, free_port
from shortlist.engine.vllm.start import StartHooks, UpstreamAccess, connect, launch
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.models.qwen3.family import AS_RERANKER
from shortlist.types import (
    EMBED,
    RERANK,
    Batch,
    Ids,
    Operation,
    TokenPrefix,
    TokenPrompt,
    WorkItem,
)
from tests.support import qwen

EXECUTABLE = Path(__file__).parents[2] / "benchmarks" / ".environments" / "vllm" / "bin" / "vllm"
"""Where `benchmarks/peers/environment vllm` puts it."""

SMALL = {"VLLM_CPU_KVCACHE_SPACE": "1"}
MAX_LEN = 2048
SERVED_NAME = "qwen3-reranker"


def missing_vllm() -> str | None:
    """Return why there is no vLLM to test with, or None if there is one."""
    return None if EXECUTABLE.is_file() else "vLLM is not installed (benchmarks/peers/environment vllm)"


def plan_of(folder: Path, operation: Operation = RERANK, **changes: object) -> VllmPlan:
    """Return how a tiny model is started: uncompiled, which takes half as long."""
    fields: dict[str, object] = {
        "model": str(folder),
        "operation": operation,
        "hf_overrides": AS_RERANKER if operation is RERANK else {},
        "dtype": "bfloat16",
        "max_model_len": MAX_LEN,
        "max_num_seqs": 64,
        "max_num_batched_tokens": MAX_LEN,
        "enforce_eager": True,
    }
    return VllmPlan(**fields | changes)  # type: ignore[arg-type]


@cache
def folder_of(kind: qwen.Kind) -> Path:
    """Return a tiny model in bfloat16, made on the first call and removed with the process."""
    folder = Path(tempfile.mkdtemp(prefix="vllm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return qwen.write_model(folder, kind=kind, dtype="bfloat16")


@cache
def running(kind: qwen.Kind) -> VllmEngine:
    """Return an engine around a real vLLM, started on the first call and ended with the process.

    Embedders and classifiers are children of ours; the reranker was started by the command that we tell people.
    """
    folder = folder_of(kind)
    with ExitStack() as served:
        if kind == "reranker":
            server = served.enter_context(by_hand(folder, *right_arguments(), "--served-model-name", SERVED_NAME))
            engine = connect([server.url], plan_of(folder), UpstreamAccess(timeout_s=60.0))
        else:
            plan = plan_of(folder, EMBED if kind == "embedder" else RERANK, hf_overrides={})
            patch = served.enter_context(pytest.MonkeyPatch.context())
            for name, value in SMALL.items():
                patch.setenv(name, value)
            access, hooks = UpstreamAccess(timeout_s=60.0), StartHooks(notify=print)
            engine = launch(plan, access, hooks, executable=str(EXECUTABLE), digest=f"test {folder}")
        atexit.register(served.pop_all().close)
    atexit.register(engine.close)
    return engine


def let_go(kind: qwen.Kind) -> None:
    """End what `running` started for a kind that is not needed any more: each takes gigabytes. It is not to be asked again."""
    running(kind).close()


def url_of(engine: VllmEngine) -> str:
    """Return where the only server of an engine is."""
    [server] = engine._pool.servers
    return server.url


def right_arguments() -> list[str]:
    """Return what follows `vllm serve MODEL` in the command that people are told for a reranker."""
    return shlex.split(right_command(plan_of(folder_of("reranker"))))[3:]


@contextmanager
def by_hand(folder: Path, *arguments: str) -> Iterator[VllmProcess]:
    """Run `vllm serve FOLDER ARGUMENTS` as a user without advice would, until it answers and for the block."""
    port = free_port()
    small = ["--max-model-len", str(MAX_LEN), "--enforce-eager", "--dtype", "bfloat16", "--host", "127.0.0.1"]
    command = [str(EXECUTABLE), "serve", str(folder), *small, "--port", str(port), *arguments]
    cores = sorted(os.sched_getaffinity(0))
    environ = {**process_environment(plan_of(folder), is_cpu=True, cores=cores), **SMALL}
    child = VllmProcess(command, environ=environ, port=port, notify=lambda _: None)
    try:
        child.wait_until_ready()
        yield child
    finally:
        child.close()


def processes(of: str) -> list[int]:
    """Return the living processes whose command line holds these words, but for supervisors, which hold those of all."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=", "-o", "stat=", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [
        int(row[0]) for row in rows if len(row) == 3 and of in row[2] and row[1][0] != "Z" and "supervisor.py" not in row[2]
    ]


def groups_of(parent: int, model: str) -> list[int]:
    """Return the process groups of the vLLMs that a server has started for a model; others' are none of our business."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    supervisors = [
        row for row in rows if len(row) == 4 and int(row[1]) == parent and "supervisor.py" in row[3] and row[2][0] != "Z"
    ]
    return [int(pid) for pid, _, _, args in supervisors if f" serve {model} " in f"{args} "]


def members(group: int) -> list[int]:
    """Return the living processes of a process group."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=", "-o", "pgid=", "-o", "stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, pgid, stat in rows if int(pgid) == group and stat[0] != "Z"]


def prompts_of(lengths: Sequence[int], *, num_prefix: int = 7) -> list[TokenPrompt]:
    """Return prompts of one head, of these lengths beside it."""
    prefix = TokenPrefix(_ids(num_prefix, 0))
    return [TokenPrompt(prefix, _ids(length, index + 1)) for index, length in enumerate(lengths)]


def _ids(length: int, seed: int) -> Ids:
    return np.random.default_rng((length, seed)).integers(1000, 100_000, length).astype(np.int32)


def batch_of(prompts: Sequence[TokenPrompt], task: Operation = RERANK) -> Batch:
    return Batch(task, tuple(WorkItem(1, index, prompt) for index, prompt in enumerate(prompts)))


def is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", trust_env=False, timeout=2).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False
