"""The ui package: cheap to import, and it reports whether the page is available."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from shortlist import ui


def test_importing_the_package_does_not_import_gradio() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import shortlist.ui, shortlist.ui.runs; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_page_is_available_when_gradio_is() -> None:
    assert ui.is_available() is (importlib.util.find_spec("gradio") is not None)


def test_page_is_not_available_without_gradio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ui.is_available() is False
