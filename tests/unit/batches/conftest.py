"""A bucket of a real server that speaks S3."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator

import pytest

from shortlist.batches.file_store import FileStore
from shortlist.batches.stores import open_store


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the location of an empty folder in a bucket, with the variables that lead to it."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{abs(hash(request.node.nodeid)):x}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}/some/folder"


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest) -> str:
    """Return the location of an empty store of every kind."""
    if request.param == "s3":
        return str(request.getfixturevalue("bucket"))
    return str(request.getfixturevalue("tmp_path") / "files")


@pytest.fixture
def store(location: str) -> FileStore:
    return open_store(location)
