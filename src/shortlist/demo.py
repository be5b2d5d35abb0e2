"""A first ranking in the terminal, over HTTP like any client."""

from __future__ import annotations

import httpx2
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shortlist.client import AsyncClient, Ranking
from shortlist.errors import ServiceError
from shortlist.logs import standard_error

QUERY = "how do I read a json file in python"
DOCUMENTS = (
    "bake bread at 220 C",
    "open the file and call json.load",
    "pythons are large snakes",
    "csv.reader yields one list per row",
    "JSON is a text format for structured data",
)


async def show(url: str, *, api_key: str | None = None) -> None:
    """Rank a few documents on the server at `url` and print the table or the error."""
    console = Console(file=standard_error())
    try:
        # An explicit transport: the default one would use the environment's proxy for a local port.
        async with AsyncClient(url, api_key=api_key, transport=httpx2.AsyncHTTPTransport()) as client:
            console.print(table(await client.rerank(QUERY, DOCUMENTS)))
    except ServiceError as error:
        console.print(Text(f"The demo request failed: {error.message}"), soft_wrap=True)


def table(ranking: Ranking) -> Table:
    """Return the ranking as a table with a bar for every score."""
    shown = Table(title=f'"{QUERY}"', title_justify="left", title_style="bold", box=None, pad_edge=False)
    shown.add_column("score", justify="right")
    shown.add_column("", width=20)
    shown.add_column("document")
    for result in ranking.results:
        bar = ProgressBar(total=1.0, completed=result.score, width=20, complete_style="green", finished_style="green")
        shown.add_row(f"{result.score:.3f}", bar, result.text)
    return shown
