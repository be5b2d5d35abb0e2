"""The web page, a visitor that speaks HTTP like everyone else.

This room knows what people see and type. It calls the server through `client`, in the same process but through the whole
HTTP stack, so the page can do nothing that another caller could not. It knows nothing of models, queues or engines.

Gradio is optional and slow to import, so nothing here imports it before the page is mounted.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

DEFAULT_PATH = "/ui"


def is_available() -> bool:
    """Return whether the page can be mounted here, that is, whether Gradio is installed."""
    return importlib.util.find_spec("gradio") is not None


def mount_page(app: FastAPI, *, path: str = DEFAULT_PATH) -> FastAPI:
    """Return the app with the page under `path`.

    The page has no key of its own: it calls with the key that the person's browser signed in with.

    Args:
        app: The server. The page calls it in this process, so no address or port is needed.
        path: Where the page lives.

    Raises:
        ImportError: Gradio is not installed; see `is_available`.

    Units: the first call takes a second or two, because Gradio is imported here.
    """
    from shortlist.ui.page import mount

    return mount(app, path=path)
