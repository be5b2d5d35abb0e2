from pathlib import Path

import pytest
from tokenizers import Tokenizer

from benchmarks.loads import RequestWriter
from shortlist.bench.texts import sentences
from tests.support.fixtures import make_model, tokenizer_path

__all__ = ["make_model", "tokenizer_path"]


@pytest.fixture(scope="session")
def writer(tokenizer_path: Path) -> RequestWriter:
    """A request writer with the real Qwen vocabulary."""
    return RequestWriter(Tokenizer.from_file(str(tokenizer_path)), sentences())
