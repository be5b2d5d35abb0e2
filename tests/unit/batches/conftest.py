"""Empty stores of every kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shortlist.batches.file_store import FileStore
from shortlist.batches.stores import open_store
from tests.support.s3_server import new_bucket, s3_server, variables


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in variables(s3_url).items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3_url)


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest) -> FileStore:
    if request.param == "s3":
        return open_store(request.getfixturevalue("bucket"))
    return open_store(str(request.getfixturevalue("tmp_path") / "files"))
