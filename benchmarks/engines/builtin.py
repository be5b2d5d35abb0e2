"""Shortlist's engine as a contender: `python -m benchmarks.engines.builtin MODEL [--dtype ...] [--threads N] [settings ...]`.

Builds the server's runtime and calls its rerank use case, without HTTP. The cache is off. The self-test is off too, because the
benchmark compares scores.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic.fields import FieldInfo

from benchmarks.engines.memory import CPU
from benchmarks.engines.protocol import AT_ONCE, Answer, Ready, serve_lines, use_threads
from benchmarks.engines.spec import batch_tokens_for
from shortlist import __version__
from shortlist.bench.texts import LoadRequest
from shortlist.config import Settings, fields
from shortlist.service.build import load, served_model_for
from shortlist.service.runtime import Runtime
from shortlist.service.vllm_deployment import deployments
from shortlist.telemetry import Metrics
from shortlist.types import RERANK, RerankTask

NAME = "shortlist"
ALWAYS: Mapping[str, object] = {"cache_bytes": 0, "self_test": "off"}
_NOT_FLAGS = frozenset({"models", "reranker", "embedder", "alias"}) | ALWAYS.keys()


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer requests until the input ends; return the exit code."""
    given = vars(_parser().parse_args(arguments))
    use_threads(given.pop("threads"))
    return serve_lines(_opened(given))


@contextmanager
def _opened(given: Mapping[str, object]) -> Iterator[tuple[Ready, Answer]]:
    model = str(given["model"])
    settings = Settings.load(
        {**{name: value for name, value in given.items() if name != "model"}, **derived_settings(given), **ALWAYS}
    )
    metrics = Metrics()
    [deployment] = deployments(settings, [model])
    loaded = load(model, RERANK, settings.model, notify=_log, metrics=metrics, deployment=deployment)
    served = served_model_for(loaded, model, RERANK, settings, metrics)
    runtime = Runtime([served], settings=settings, metrics=metrics)
    with asyncio.Runner() as runner:
        try:
            runner.run(runtime.start())
            with _running(runner.get_loop()) as loop:
                yield (
                    Ready(name=NAME, version=f"{NAME} {__version__}", dtype=loaded.engine.info.dtype, at_once=AT_ONCE),
                    lambda request: asyncio.run_coroutine_threadsafe(_answer(runtime, request), loop).result(),
                )
        finally:
            runner.run(runtime.close())


@contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop on its own thread for the duration of the block."""
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def derived_settings(given: Mapping[str, object]) -> Mapping[str, object]:
    """Return the settings that follow from the common flags of contenders.

    A batch holds the longest prompt. The default device is the CPU.
    """
    max_model_len, batch_tokens = given.get("max_model_len"), given.get("max_batch_tokens")
    batch_limit = {"max_batch_tokens": batch_tokens_for(int(str(max_model_len)))} if max_model_len and not batch_tokens else {}
    return {**batch_limit, "device": given.get("device") or CPU}


async def _answer(runtime: Runtime, request: LoadRequest) -> list[float]:
    outcome = await runtime.rerank(RerankTask(query=request.query, documents=request.documents))
    for failed in outcome.failed:
        raise failed.error
    return [ranked.score for ranked in sorted(outcome.results, key=lambda ranked: ranked.index)]


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines.builtin", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", metavar="MODEL", help="A folder, a Hugging Face id, or modelscope:ID.")
    parser.add_argument("--threads", type=int, help="Number of compute threads. Default: the number of cores.")
    for group, name, field in fields():
        if group != "server" and name not in _NOT_FLAGS:
            _add_flag(parser, name, field)
    return parser


def _add_flag(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=field.description)
    else:
        parser.add_argument(flag, help=field.description)


if __name__ == "__main__":
    sys.exit(main())
