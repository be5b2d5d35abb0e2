"""Shortlist: a server that turns a long list of candidates into a short one.

`Client` and `AsyncClient` send requests to a running server. `RerankRequest` is one request of a batch. They raise
`shortlist.errors`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shortlist.client import AsyncClient, Client, RerankRequest

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "RerankRequest", "__version__"]


def __getattr__(name: str) -> object:
    """Import the clients on first use: the server starts without them."""
    if name in {"AsyncClient", "Client", "RerankRequest"}:
        from shortlist import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
