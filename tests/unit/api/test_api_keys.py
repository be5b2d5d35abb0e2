"""Keys change while the server runs, and an invalid file keeps the old keys valid."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from shortlist.api.api_keys import CHECK_EVERY_S, MAX_FILE_BYTES, ApiKeys, Role, sent_key
from shortlist.errors import BadSetting
from tests.support.apps import settings


class Clock:
    """Stands still until it is told to move on."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def wait(self) -> None:
        self.now_s += CHECK_EVERY_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("one\ntwo\n")
    return path


def rewrite(file: Path, content: bytes) -> None:
    """Write as an editor does, with a time that is surely another."""
    before = file.stat().st_mtime_ns
    file.write_bytes(content)
    os.utime(file, ns=(before + 10**9, before + 10**9))


def valid(keys: ApiKeys, *candidates: str) -> set[str]:
    return {key for key in candidates if keys.find([key.encode()]) is not None}


def owner(keys: ApiKeys, *sent: str) -> str:
    """Return the owner of the key that is valid."""
    found = keys.find([key.encode() for key in sent])
    assert found is not None
    return found.owner


# -- who is who ---------------------------------------------------------------------------------------------------------


def test_owner_is_named_by_the_beginning_of_the_keys_digest() -> None:
    assert owner(ApiKeys(["key"]), "key") == hashlib.sha256(b"key").hexdigest()[:12]


def test_same_key_is_the_same_caller_and_another_is_another() -> None:
    keys = ApiKeys(["one", "two"])
    assert owner(keys, "one") == owner(keys, "wrong", "one") != owner(keys, "two")


@pytest.mark.parametrize("sent", [[], [b""], [b"on"], [b"one "], [b"ONE"], [b"\xff"], [b"one\0"], [b"x", b"y"]])
def test_wrong_key_has_no_owner(sent: list[bytes]) -> None:
    assert ApiKeys(["one"]).find(sent) is None


def test_keys_of_the_settings_may_have_owners_and_roles() -> None:
    keys = ApiKeys(["one", "pool:worker:two", "search:read:three"])
    assert valid(keys, "one", "two", "three", "pool:worker:two") == {"one", "two", "three"}
    found = keys.find([b"two"])
    assert found is not None
    assert (found.owner, found.role) == ("pool", Role.WORKER)


@pytest.mark.parametrize("second", ["one:write:canary", "one:read: "])
def test_contradicting_keys_of_the_settings_are_refused(second: str) -> None:
    with pytest.raises(BadSetting, match="api_key") as refusal:
        ApiKeys(["canary", second])
    assert "canary" not in refusal.value.message


@pytest.mark.parametrize(
    ("given", "write", "worker"),
    [
        ([], None, None),
        (["one"], "one", "one"),
        (["one", "pool:worker:two"], "one", "two"),
        (["pool:worker:two", "search:write:three"], "three", "two"),
        (["search:read:three"], "three", "three"),
    ],
)
def test_worker_sends_the_key_with_its_role(given: list[str], write: str | None, worker: str | None) -> None:
    assert (sent_key(given, Role.WRITE), sent_key(given, Role.WORKER)) == (write, worker)


def test_without_keys_none_is_needed_and_none_is_right() -> None:
    assert not ApiKeys().are_needed
    assert ApiKeys().find([b""]) is None


def test_keys_are_not_kept_as_they_are(file: Path) -> None:
    keys = ApiKeys(["canary"], file)
    assert "canary" not in repr(vars(keys))
    assert "one" not in repr(keys._from_file)


# -- owners and roles ---------------------------------------------------------------------------------------------------


OWNED: Final = b"""# OWNER:ROLE:KEY
search:write:one
search:read: two
batch.jobs-2:worker:three:3
four
"""


@pytest.mark.parametrize(
    ("key", "name", "role"),
    [("one", "search", Role.WRITE), ("two", "search", Role.READ), ("three:3", "batch.jobs-2", Role.WORKER)],
)
def test_line_names_owner_and_role_of_a_key(file: Path, key: str, name: str, role: Role) -> None:
    rewrite(file, OWNED)
    found = ApiKeys(file=file).find([key.encode()])
    assert found is not None
    assert (found.owner, found.role) == (name, role)


def test_key_without_an_owner_may_write(file: Path) -> None:
    found = ApiKeys(["zero"], file).find([b"one"])
    assert found is not None
    assert found.role is Role.WRITE


def test_line_as_a_whole_is_no_key(file: Path) -> None:
    rewrite(file, OWNED)
    assert valid(ApiKeys(file=file), "search:write:one", "write:one", "search", "three", "") == set()


def test_owner_outlives_the_keys(file: Path, clock: Clock) -> None:
    rewrite(file, b"search:write:old")
    keys = ApiKeys(file=file, clock=clock)
    before = owner(keys, "old")
    rewrite(file, b"search:write:new!")
    clock.wait()
    assert (owner(keys, "new!"), valid(keys, "old")) == (before, set())


@pytest.mark.parametrize(
    "line",
    ["a:b", "a:b:c", ":write:c", "-a:write:c", "a b:write:c", "a:admin:c", "a:WRITE:c", f"{'a' * 65}:write:c", "write:c"],
)
def test_key_with_colons_stays_a_key(file: Path, line: str) -> None:
    rewrite(file, line.encode())
    assert valid(ApiKeys(file=file), line, "b", "c", "b:c") == {line}


def test_file_says_who_owns_a_key_that_is_also_given(file: Path) -> None:
    rewrite(file, b"search:read:one")
    assert owner(ApiKeys(["one"], file), "one") == "search"


@pytest.mark.parametrize("second", [b"two:write:canary", b"one:read:canary", b"canary"])
def test_key_with_two_owners_or_roles_is_refused(file: Path, second: bytes) -> None:
    rewrite(file, b"one:write:canary\n\n" + second)
    with pytest.raises(BadSetting, match=r"Line 3 .*repeats a key") as refusal:
        ApiKeys(file=file)
    assert "canary" not in refusal.value.message


def test_repeated_line_is_no_contradiction(file: Path) -> None:
    rewrite(file, b"one\na:read:two\none\na:read:two")
    assert valid(ApiKeys(file=file), "one", "two") == {"one", "two"}


def test_owner_without_a_key_is_refused(file: Path) -> None:
    rewrite(file, b"one\nsearch:write: \n")
    with pytest.raises(BadSetting, match=r"Line 2 .*no key"):
        ApiKeys(file=file)


# -- a file -------------------------------------------------------------------------------------------------------------


def test_every_line_is_a_key_but_comments_and_empty_ones(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbf# who\r\n\r\n  one \r\n#two\n\tthree\nfo ur\n")
    assert valid(ApiKeys(file=file), "one", "two", "#two", "three", "fo ur", "", "# who") == {"one", "three", "fo ur"}


def test_given_keys_and_the_files_are_both_valid(file: Path) -> None:
    assert valid(ApiKeys(["zero"], file), "zero", "one", "two") == {"zero", "one", "two"}


def test_settings_name_them(file: Path) -> None:
    keys = ApiKeys.of(settings(api_key=["zero"], api_key_file=file).server)
    assert valid(keys, "zero", "one") == {"zero", "one"}


def test_changed_file_takes_effect_within_a_second(file: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    keys = ApiKeys(file=file, clock=clock)
    rewrite(file, b"two\nthree\n")
    clock.wait()
    with caplog.at_level(logging.INFO, "shortlist"):
        assert valid(keys, "one", "two", "three") == {"two", "three"}
    assert [vars(record)["keys"] for record in caplog.records] == [2]


def test_file_that_was_replaced_is_read_even_if_time_and_size_are_the_same(file: Path, clock: Clock, tmp_path: Path) -> None:
    keys = ApiKeys(file=file, clock=clock)
    new, before = tmp_path / "new", file.stat().st_mtime_ns
    new.write_text("ONE\nTWO\n")
    os.utime(new, ns=(before, before))
    new.replace(file)
    clock.wait()
    assert valid(keys, "one", "ONE") == {"ONE"}


def test_file_is_looked_at_once_a_second_at_most(file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ApiKeys(file=file, clock=clock)
    looks: list[Path] = []
    stat = Path.stat

    def counted(path: Path, **flags: bool) -> os.stat_result:
        looks.append(path)
        return stat(path, **flags)

    monkeypatch.setattr(Path, "stat", counted)
    for _ in range(100):
        keys.find([b"one"])
        clock.now_s += CHECK_EVERY_S / 50
    assert looks.count(file) == 1


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


Spoil = Callable[[Path], object]
SPOILT: dict[str, Spoil] = {
    "gone": lambda file: file.unlink(),
    "empty": lambda file: rewrite(file, b""),
    "only comments": lambda file: rewrite(file, b"# one\n\n"),
    "huge": lambda file: rewrite(file, b"x\n" * MAX_FILE_BYTES),
    "a folder": make_folder,
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_invalid_key_file_keeps_old_keys_and_warns_once(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture, spoil: Spoil
) -> None:
    keys = ApiKeys(file=file, clock=clock)
    spoil(file)
    for _ in range(5):
        clock.wait()
        assert valid(keys, "one", "two", "three") == {"one", "two"}
    [record] = caplog.records
    assert (record.levelno, "stay valid" in record.message) == (logging.WARNING, True)


def test_restored_file_is_read_and_a_second_loss_logged_again(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ApiKeys(file=file, clock=clock)
    for name in ("three", "four"):
        file.unlink(missing_ok=True)
        clock.wait()
        keys.find([])
        file.write_text(name)
        clock.wait()
        assert valid(keys, "one", "three", "four") == {name}
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 2


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_file_that_is_bad_at_the_start_stops_it(file: Path, spoil: Spoil) -> None:
    spoil(file)
    with pytest.raises(BadSetting, match="--api-key-file") as refusal:
        ApiKeys(file=file)
    assert str(file) in refusal.value.message


def test_message_quotes_nothing_of_the_file(file: Path) -> None:
    rewrite(file, b"#canary\n")
    with pytest.raises(BadSetting) as refusal:
        ApiKeys(file=file)
    assert "canary" not in refusal.value.message
