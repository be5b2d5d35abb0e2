"""`shortlist rerank`: rank documents for a query, or for every query of a file."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import typer

from shortlist.cli import flags, target
from shortlist.cli.batches import RankOptions, rank_all
from shortlist.cli.checkpoint import Digest, checkpoint, remaining, whole_file
from shortlist.cli.exit_codes import EXIT_DONE, EXIT_PARTLY, print_message, run_to_exit
from shortlist.cli.input import Form, Input, InputGroup, read_in_thread
from shortlist.cli.output import Groups, OutputSink, RankedGroup, Results, Tables, is_on_terminal, to_output
from shortlist.client.progress import Bar
from shortlist.errors import InvalidInput, ServiceError
from shortlist.types import RERANK

app = typer.Typer(add_completion=False)

EPILOG: Final = (
    "Examples:\n\n"
    "ls docs | shortlist rerank -q 'how do I install it' --top-n 5\n\n"
    "shortlist rerank -q 'reset a password' faq.txt --model Qwen/Qwen3-Reranker-0.6B\n\n"
    "shortlist rerank -q 'reset a password' faq.jsonl | head -1 | jq -r .text\n\n"
    "shortlist rerank groups.jsonl --url http://localhost:8080 --out ranked.jsonl\n\n"
    "Exit codes: 0 done, 1 some documents have no score, 2 wrong usage or input, 3 no model, no server, or the output cannot "
    "be written, 130 Ctrl-C. See docs/cli.md."
)


@dataclass(slots=True)
class Tally:
    """Progress of a run.

    Attributes:
        num_groups: Written groups.
        num_unranked: Documents without a score.
        reason: Line and message of the first of them.
    """

    num_groups: int = 0
    num_unranked: int = 0
    reason: str | None = None

    def add(self, ranked: RankedGroup) -> None:
        """Count one group."""
        self.num_groups += 1
        group, error = ranked.group, ranked.error
        self.num_unranked += len(ranked.failed) if error is None else len(group.texts)
        if self.reason is None and (error is not None or ranked.failed):
            line = group.line if group.line is not None else ranked.failed[0].index + 1
            self.reason = f"line {line}: {ranked.failed[0].message if error is None else error.message}"


def _rerank(file: Path | None = None, *, query: str | None = None, out: Path | None = None, **given: Any) -> None:
    """Rank documents for a query, or for every query of a file.

    FILE (default, or -: standard input) has one document per line: plain, or a JSON object with `text`. Without --query, every
    line is a group: a JSON object with `query`, `documents` and, optionally, `id`.

    The output is a table on a terminal. Elsewhere it is one JSON object per document: `index` (its line, from 0),
    `relevance_score` and `text`; or one per group: `group`, `id`, `query`, and the documents as `results`.

    With --out, groups are appended to a file one by one, and the same command resumes an interrupted run.
    """
    source = Input.of(file, given["input_format"])
    run_to_exit(lambda: run_groups(source, out, given) if query is None else run_one(source, query, out, given))


def run_one(source: Input, query: str, out: Path | None, given: Mapping[str, Any]) -> int:
    """Rank the documents of one query; return the exit code.

    Raises:
        InvalidInput: the input, a flag or a request is invalid.
        ServiceError: the model, the server or the output is unavailable.
    """
    if not query.strip():
        raise InvalidInput("--query must not be empty.")
    texts = tuple(source.texts(skips_blank=True))
    if not texts:
        print_message(f"Nothing to rank: {source.name} has no lines.")
        return EXIT_DONE
    group = InputGroup(position=0, line=None, query=query, texts=texts)
    with ExitStack() as files:
        file = to_output() if out is None else files.enter_context(whole_file(out))
        connect = target.connect(RERANK, given)
        bar = files.enter_context(Bar("ranking", len(texts)))
        sink = Tables(bar) if out is None and is_on_terminal() else Results(file)
        tally = Tally()
        asyncio.run(_run(connect, [group], options_of(given), sink, bar, tally))
    return _end(tally)


def run_groups(source: Input, out: Path | None, given: Mapping[str, Any]) -> int:
    """Rank the documents of every group; return the exit code.

    Raises:
        InvalidInput: the input, a flag or a request is invalid.
        ServiceError: the model, the server or the output is unavailable.
    """
    groups, num_done = source.groups(), 0
    total = sum(1 for _ in source.groups()) if source.can_be_read_twice else None
    digest = Digest(given["model"], given["instruction"], given["top_n"])
    with ExitStack() as files:
        file = to_output()
        if out is not None:
            file, done = files.enter_context(checkpoint(out))
            groups, num_done = remaining(groups, out, done, digest), len(done)
        first = next(groups, None)
        if first is None:
            print_message(f"Nothing {'left ' if num_done else ''}to rank.")
            return EXIT_DONE
        connect = target.connect(RERANK, given)
        bar = files.enter_context(Bar("ranking", None if total is None else total - num_done))
        sink = Tables(bar) if out is None and is_on_terminal() else Groups(file, digest)
        tally = Tally()
        try:
            asyncio.run(_run(connect, chain([first], groups), options_of(given), sink, bar, tally))
        except (KeyboardInterrupt, ServiceError):
            if out is not None:
                with bar.aside():
                    print_message(f"{out} has {num_done + tally.num_groups} groups; the same command resumes from there.")
            raise
    return _end(tally)


def options_of(given: Mapping[str, Any]) -> RankOptions:
    """Return the options of requests; a model in this process needs no name."""
    options = {name: given[name] for name in ("instruction", "top_n", "batch_size", "concurrency", "timeout_s")}
    return RankOptions(model=None if given["url"] is None else given["model"], **options)


async def _run(
    connect: target.Connect, groups: Iterable[InputGroup], options: RankOptions, sink: OutputSink, bar: Bar, tally: Tally
) -> None:
    async with (
        connect() as client,
        aclosing(read_in_thread(groups)) as source,
        aclosing(rank_all(client, source, options)) as batches,
    ):
        async for batch, ranked in batches:
            if batch.group.line is None:
                bar.advance(batch.stop - batch.start)
            if ranked is None:
                continue
            if batch.group.line is None and ranked.error is not None:
                raise ranked.error
            sink.put(ranked)
            tally.add(ranked)
            if batch.group.line is not None:
                bar.advance()


def _end(tally: Tally) -> int:
    if not tally.num_unranked:
        return EXIT_DONE
    print_message(f"{tally.num_unranked} documents have no score; first: {tally.reason}")
    return EXIT_PARTLY


def _parameters() -> Iterator[inspect.Parameter]:
    file = typer.Argument(metavar="[FILE]", help="Documents or groups, one per line; - is standard input.", show_default=False)
    yield flags.argument("file", Path | None, file, default=None)
    yield flags.option("query", str | None, typer.Option("--query", "-q", help="The search query."))
    top_n = typer.Option("--top-n", "-n", min=1, help="Number of results per group; default all.", show_default=False)
    yield flags.option("top_n", int | None, top_n)
    instruction = "Defines relevance in words; default: the model's."
    yield flags.option("instruction", str | None, typer.Option("--instruction", "-i", metavar="TEXT", help=instruction))
    out = "Output file instead of standard output; groups are appended, and an interrupted run is resumed."
    yield flags.option("out", Path | None, typer.Option("--out", "-o", metavar="FILE", help=out))
    form = "Format of the lines: plain text or JSON objects. auto detects it from the file's name and the first line."
    yield flags.option("input_format", Form, typer.Option("--input-format", help=form), "auto")
    yield flags.option("batch_size", int, typer.Option("--batch-size", min=1, help="Documents per request."), 64)
    yield from target.parameters(RERANK)
    yield from flags.settings(flags.MODEL_SETTINGS)


flags.command(_rerank, _parameters(), epilog=EPILOG, to=app, name="rerank")
