"""Fixtures that several folders share: the vocabulary once per session, model folders built on first use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import qwen

ModelFactory = Callable[..., Path]


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Qwen vocabulary as a `tokenizer.json`; parallel workers share one."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # a worker's own folder lies in the run's
    path = shared / "qwen-tokenizer.json"
    if not path.exists():
        mine = path.with_suffix(f".{os.getpid()}")
        qwen.write_tokenizer(mine)
        mine.replace(path)
    return path


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> ModelFactory:
    """Builds a model folder from `write_model`'s arguments, once for equal arguments."""
    built: dict[str, Path] = {}

    def make(**asked: object) -> Path:
        key = repr(sorted(asked.items()))
        if key not in built:
            folder = tmp_path_factory.mktemp("model")
            built[key] = qwen.write_model(folder, tokenizer=tokenizer_path, **asked)  # type: ignore[arg-type]
        return built[key]

    return make
