"""One contract for a folder and a bucket: files are whole or not there, and nothing is lost after `put`."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("python_multipart")

from shortlist.batches import stores
from shortlist.batches.disk_store import DiskFileStore
from shortlist.batches.file_store import PIECE_BYTES, FileStore, new_name, whole
from shortlist.batches.stores import open_store
from shortlist.errors import BadSetting, FilesUnavailable, NotFound


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def names(store: FileStore) -> set[str]:
    return {each.name async for each in store.list_files()}


@pytest.mark.parametrize(
    "given",
    [
        (),
        (b"",),
        (b"a",),
        (b"a", b"", b"b"),
        (b"x" * PIECE_BYTES,),
        (b"x" * 3 * PIECE_BYTES, b"y"),
        tuple([b"z" * 70_001] * 100),
    ],
    ids=["nothing", "empty", "a byte", "an empty piece", "one block", "blocks and a rest", "many pieces"],
)
async def test_bytes_come_back(store: FileStore, given: tuple[bytes, ...]) -> None:
    name = new_name()
    assert await store.put(name, pieces(*given)) == len(b"".join(given))
    assert await whole(store.read(name)) == b"".join(given)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (3, 9), (9, 10), (4, 100), (PIECE_BYTES, 2 * PIECE_BYTES + 5)])
async def test_range_is_read_alone(store: FileStore, start: int, end: int) -> None:
    name, content = new_name(), bytes(range(10)) + b"-" * 3 * PIECE_BYTES
    await store.put(name, pieces(content))
    assert await whole(store.read(name, start, end)) == content[start:end]


async def test_rest_is_read_from_anywhere(store: FileStore) -> None:
    name = new_name()
    await store.put(name, pieces(b"0123456789"))
    assert await whole(store.read(name, 7)) == b"789"


async def test_absent_file_is_not_found_and_removed_without_an_error(store: FileStore) -> None:
    with pytest.raises(NotFound):
        await whole(store.read(new_name()))
    with pytest.raises(NotFound):
        await whole(store.read(new_name(), 1, 2))
    await store.delete(new_name())


async def test_removed_file_is_gone(store: FileStore) -> None:
    kept, removed = new_name(), new_name()
    for name in (kept, removed):
        await store.put(name, pieces(b"text"))
    await store.delete(removed)
    with pytest.raises(NotFound):
        await whole(store.read(removed))
    assert await names(store) == {kept}


async def test_listed_files_have_their_age(store: FileStore) -> None:
    name = new_name()
    await store.put(name, pieces(b"text"))
    [found] = [each async for each in store.list_files()]
    assert found.name == name
    assert -60 < found.age_s < 60


async def test_error_of_the_source_leaves_no_file(store: FileStore) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * 6 * PIECE_BYTES
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.put(new_name(), breaks())
    assert await names(store) == set()


async def test_cancelled_write_leaves_no_file(store: FileStore) -> None:
    has_begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * PIECE_BYTES
            has_begun.set()
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(store.put(new_name(), endless()))
    await has_begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await asyncio.sleep(0.1)
    assert await names(store) == set()


async def test_reader_sees_no_unfinished_file(store: FileStore) -> None:
    name, may_end = new_name(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 6 * PIECE_BYTES
        await may_end.wait()
        yield b"y"

    writing = asyncio.create_task(store.put(name, slow()))
    await asyncio.sleep(0.2)
    with pytest.raises(NotFound):
        await whole(store.read(name))
    may_end.set()
    assert await writing == 6 * PIECE_BYTES + 1


@pytest.mark.parametrize("name", ["../etc/passwd", "file-", "/etc/passwd", f"file-{'0' * 31}/", "", f"file-{'A' * 32}"])
async def test_name_that_the_server_did_not_make_is_refused(store: FileStore, name: str) -> None:
    with pytest.raises(AssertionError):
        await store.put(name, pieces(b"text"))
    with pytest.raises((AssertionError, NotFound)):
        await whole(store.read(name))


# -- a folder -----------------------------------------------------------------------------------------------------------


async def test_files_are_for_the_server_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        store = DiskFileStore(tmp_path / "new" / "files")
        name = new_name()
        await store.put(name, pieces(b"text"))
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "new" / "files").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "files" / name).stat().st_mode) == 0o600


async def test_file_is_on_disk_before_it_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(number: int) -> None:
        calls.append("fsync")
        fsync(number)

    def watched_replace(path: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    await DiskFileStore(tmp_path).put(new_name(), pieces(b"text"))
    assert calls == ["fsync", "rename", "fsync"]


WRITER = """
import asyncio, sys
from pathlib import Path
from shortlist.batches.disk_store import DiskFileStore
from shortlist.batches.file_store import new_name

async def endless():
    while True:
        yield b"x" * 65536
        print("wrote", flush=True)

asyncio.run(DiskFileStore(Path(sys.argv[1])).put(new_name(), endless()))
"""


def kill_a_writer(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(40):
            writer.stdout.readline()
        writer.kill()


async def test_killed_writer_leaves_no_file_but_a_rest_that_is_listed(tmp_path: Path) -> None:
    kill_a_writer(tmp_path)
    store = DiskFileStore(tmp_path)
    [rest] = await names(store)
    with pytest.raises(NotFound):
        await whole(store.read(rest[:37]))
    await store.delete(rest)
    assert await names(store) == set()


async def test_foreign_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    store = DiskFileStore(tmp_path)
    assert await names(store) == set()
    with pytest.raises(AssertionError):
        await store.delete("notes.txt")
    assert (tmp_path / "notes.txt").exists()


async def test_full_disk_is_said_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    store = DiskFileStore(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FilesUnavailable):
        await store.put(new_name(), pieces(b"text"))
    assert await names(store) == set()


def test_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="--job-files"):
        open_store(str(tmp_path / "file" / "folder"))


@pytest.mark.parametrize(
    ("library", "location"), [("python_multipart", "files"), ("python_multipart", "s3://a/b"), ("obstore", "s3://a/b")]
)
def test_missing_library_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, location: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(stores, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(BadSetting, match=library):
        open_store(location)


# -- a bucket -----------------------------------------------------------------------------------------------------------


def test_location_that_is_no_bucket_stops_the_start() -> None:
    with pytest.raises(BadSetting, match="s3://BUCKET/PREFIX"):
        open_store("s3://")


async def test_unreachable_bucket_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store(bucket)
    before_s = time.monotonic()
    with pytest.raises(FilesUnavailable):
        await store.delete(new_name())
    assert time.monotonic() - before_s < 60
