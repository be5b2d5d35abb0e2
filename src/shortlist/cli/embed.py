"""`shortlist embed`: turn texts into vectors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import ExitStack, aclosing
from itertools import chain
from pathlib import Path
from typing import Any, Final

import typer

from shortlist.cli import flags, target
from shortlist.cli.exit_codes import EXIT_DONE, print_message, run_to_exit
from shortlist.cli.input import Form, Input, Text, read_in_thread
from shortlist.cli.output import is_on_terminal
from shortlist.cli.vectors import Writer, writer
from shortlist.client import Embeddings
from shortlist.client.progress import Bar
from shortlist.client.stream import stream
from shortlist.errors import ServiceError
from shortlist.types import EMBED

app = typer.Typer(add_completion=False)

EPILOG: Final = (
    "Examples:\n\n"
    "shortlist embed texts.txt > vectors.jsonl\n\n"
    "shortlist embed texts.txt --model Qwen/Qwen3-Embedding-0.6B --out vectors.npy\n\n"
    "echo 'what is a cat' | shortlist embed --query --url http://localhost:8080\n\n"
    "Exit codes: 0 done, 2 wrong usage or input, 3 no model, no server, or the output cannot be written, 130 Ctrl-C. "
    "See docs/cli.md."
)


def _embed(file: Path | None = None, *, out: Path | None = None, **given: Any) -> None:
    """Embed texts.

    FILE (default, or -: standard input) has one text per line: plain, or a JSON object with `text`.

    Without --out, every vector is one JSON object: `index` (the text's line, from 0) and `embedding`. With --out, the file's
    suffix selects the format: .jsonl the same, .npy an array of one row per text, .parquet a table.
    """
    run_to_exit(lambda: run(Input.of(file, given["input_format"]), out, given))


def run(source: Input, out: Path | None, given: Mapping[str, Any]) -> int:
    """Embed the input and write the vectors; return the exit code.

    Raises:
        InvalidInput: the input, a flag or a request is invalid.
        ServiceError: the model, the server or the output is unavailable.
    """
    texts = source.texts(skips_blank=False)
    total = sum(1 for _ in source.texts(skips_blank=False)) if source.can_be_read_twice else None
    with ExitStack() as files:
        vectors = files.enter_context(writer(out))
        first = next(texts, None)
        if first is None:
            print_message(f"Nothing to embed: {source.name} has no lines.")
            return EXIT_DONE
        connect = target.connect(EMBED, given)
        bar = files.enter_context(Bar("embedding", total, is_wanted=out is not None or not is_on_terminal()))
        try:
            asyncio.run(_run(connect, chain([first], texts), given, vectors, bar))
        except (KeyboardInterrupt, ServiceError):
            with bar.aside():
                print_message(f"Stopped at line {bar.num_done + 1}; the vectors of the lines before are written.")
            raise
    return EXIT_DONE


async def _run(connect: target.Connect, texts: Iterable[Text], given: Mapping[str, Any], vectors: Writer, bar: Bar) -> None:
    options = {
        "model": None if given["url"] is None else given["model"],
        "is_query": given["query"],
        "instruction": given["instruction"],
        "dimensions": given["dimensions"],
        "timeout_s": given["timeout_s"],
    }
    async with connect() as client, aclosing(read_in_thread(texts)) as source:

        async def send(batch: list[Text]) -> Embeddings:
            return await client.embed([text.text for text in batch], **options)

        batches = stream(send, _batches(source, given["batch_size"]), concurrency=given["concurrency"])
        async with aclosing(batches):
            async for _, batch, embedded in batches:
                vectors.put([text.index for text in batch], embedded.vectors)
                bar.advance(len(batch))


async def _batches(texts: AsyncIterable[Text], batch_size: int) -> AsyncIterator[list[Text]]:
    batch: list[Text] = []
    async for text in texts:
        batch.append(text)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _parameters() -> Iterator[inspect.Parameter]:
    file = typer.Argument(metavar="[FILE]", help="Texts, one per line; - is standard input.", show_default=False)
    yield flags.argument("file", Path | None, file, default=None)
    is_query = "The texts are queries; some models use another prompt template for queries."
    yield flags.option("query", bool, typer.Option("--query/--document", help=is_query), default=False)
    instruction = "What the queries look for, in words; default: the model's. Implies --query."
    yield flags.option("instruction", str | None, typer.Option("--instruction", "-i", metavar="TEXT", help=instruction))
    width = typer.Option("--dimensions", "-d", min=1, help="Truncate vectors to this many dimensions.", show_default=False)
    yield flags.option("dimensions", int | None, width)
    out = "Output file: FILE.jsonl, FILE.npy or FILE.parquet."
    yield flags.option("out", Path | None, typer.Option("--out", "-o", metavar="FILE", help=out))
    form = "Format of the lines: plain text or JSON objects. auto detects it from the file's name and the first line."
    yield flags.option("input_format", Form, typer.Option("--input-format", help=form), "auto")
    yield flags.option("batch_size", int, typer.Option("--batch-size", min=1, help="Texts per request."), 64)
    yield from target.parameters(EMBED)
    yield from flags.settings(flags.MODEL_SETTINGS)


flags.command(_embed, _parameters(), epilog=EPILOG, to=app, name="embed")
