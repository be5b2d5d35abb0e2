"""A byte that is not what it should be: noticed, named, with a way out; and what names the bytes of a folder."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from shortlist.errors import ModelRefused
from shortlist.hub.integrity import Content, Sum, read_content
from shortlist.hub.metadata import list_files
from shortlist.models import resolve
from tests.support.model_folder import CROSS_ENCODER, Files, to_json, write

SHARDS = {f"model-0000{n}-of-00003.safetensors": bytes([n]) * 5000 for n in (1, 2, 3)}
INDEX = {"model.safetensors.index.json": to_json({"weight_map": {str(n): name for n, name in enumerate(SHARDS)}})}


def read(folder: Path, known: dict[str, Sum] | None = None) -> Content:
    return read_content(folder, list_files(folder), name="mine", known=known)


def refusal(folder: Path, known: dict[str, Sum] | None = None) -> str:
    with pytest.raises(ModelRefused) as refused:
        read(folder, known)
    assert refused.value.message.startswith("mine: ")
    assert "\n" not in refused.value.message
    return refused.value.message


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sums(files: Files, *, mark: str = " ") -> bytes:
    return "".join(f"{sha256(content)} {mark}{name}\n" for name, content in files.items()).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards and a list of them."""
    return write(tmp_path / "model", {**INDEX, **SHARDS, "config.json": b"{}", "SHA256SUMS": sums(SHARDS)})


# -- SHA256SUMS ---------------------------------------------------------------------------------------------------------


def test_list_that_is_right_vouches_for_the_weights(folder: Path) -> None:
    assert read(folder).checksum_source == "SHA256SUMS"


def test_list_as_sha256sum_writes_it(tmp_path: Path) -> None:
    write(tmp_path, SHARDS)
    subprocess.run("sha256sum *.safetensors > SHA256SUMS", shell=True, check=True, cwd=tmp_path)
    assert read(tmp_path).checksum_source == "SHA256SUMS"


@pytest.mark.parametrize("name", SHARDS)
@pytest.mark.parametrize("position", [0, 2500, 4999])
def test_any_changed_byte_is_refused_with_the_files_name(folder: Path, name: str, position: int) -> None:
    content = bytearray(SHARDS[name])
    content[position] ^= 1
    write(folder, {name: bytes(content)})
    message = refusal(folder)
    assert name in message
    assert not [other for other in SHARDS if other != name and other in message]
    assert str(folder / "SHA256SUMS") in message


@pytest.mark.parametrize("size", [0, 4999, 5001])
def test_other_length_is_refused(folder: Path, size: int) -> None:
    write(folder, {"model-00002-of-00003.safetensors": b"\x02" * size})
    assert "model-00002-of-00003.safetensors is not the file" in refusal(folder)


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model-00003-of-00003.safetensors").unlink()
    assert "model-00003-of-00003.safetensors is missing" in refusal(folder)


def test_weights_that_the_list_leaves_out_are_refused(folder: Path) -> None:
    write(folder, {"SHA256SUMS": sums(dict(list(SHARDS.items())[:2]))})
    assert "model-00003-of-00003.safetensors is not in SHA256SUMS" in refusal(folder)


def test_settings_may_be_listed_too(folder: Path) -> None:
    write(folder, {"SHA256SUMS": sums({**SHARDS, "config.json": b"{}"})})
    read(folder)
    write(folder, {"config.json": b"{ }"})
    assert "config.json is not the file" in refusal(folder)


def test_files_that_we_never_read_may_be_absent_or_other(folder: Path) -> None:
    write(folder, {"SHA256SUMS": sums({**SHARDS, "pytorch_model.bin": b"p", "model.gguf": b"g"}), "model.gguf": b"other"})
    read(folder)


@pytest.mark.parametrize("spell", [str.upper, lambda line: line.replace("  ", " *"), lambda line: line.replace("  ", "  ./")])
def test_other_formats_of_a_checksum_line(folder: Path, spell: object) -> None:
    assert callable(spell)
    lines = [line.split("  ") for line in sums(SHARDS).decode().splitlines()]
    if spell is str.upper:
        text = "".join(f"{sha.upper()}  {name}\n" for sha, name in lines)
    else:
        text = "".join(spell(f"{sha}  {name}\n") for sha, name in lines)
    write(folder, {"SHA256SUMS": b"# made by hand\n\n" + text.encode()})
    assert read(folder).checksum_source == "SHA256SUMS"


@pytest.mark.parametrize(
    "line",
    [
        "not a hash  model.safetensors",
        "ab12  model.safetensors",
        "SHA256 (a.safetensors) = " + "0" * 64,
        "0" * 64,
        "\\" + "0" * 64 + "  a",
    ],
)
def test_line_that_is_none_is_refused_by_its_number(folder: Path, line: str) -> None:
    write(folder, {"SHA256SUMS": sums(SHARDS) + line.encode() + b"\n"})
    assert "line 4 of SHA256SUMS" in refusal(folder)


def test_list_that_is_not_text_is_refused(folder: Path) -> None:
    write(folder, {"SHA256SUMS": b"\xff\xfe"})
    assert "SHA256SUMS cannot be read as text" in refusal(folder)


def test_list_in_a_subfolder_speaks_of_that_subfolder(tmp_path: Path) -> None:
    inner = {"2_Dense/model.safetensors": b"d" * 100}
    write(tmp_path, {**inner, "2_Dense/SHA256SUMS": sums({"model.safetensors": b"d" * 100})})
    assert read(tmp_path).checksum_source == "2_Dense/SHA256SUMS"
    write(tmp_path, {"2_Dense/model.safetensors": b"e" * 100})
    assert "2_Dense/model.safetensors is not the file" in refusal(tmp_path)


def test_list_that_points_elsewhere_is_refused(folder: Path) -> None:
    write(folder, {"SHA256SUMS": sums(SHARDS) + f"{'0' * 64}  ../other.safetensors\n".encode()})
    assert "../other.safetensors is missing" in refusal(folder)


def test_serving_a_folder_checks_its_list(tmp_path: Path) -> None:
    name = "model.safetensors"
    folder = write(tmp_path / "ranker", {**CROSS_ENCODER, "SHA256SUMS": sums({name: CROSS_ENCODER[name]})})
    assert resolve(str(folder)).checksum_source == "SHA256SUMS"
    write(folder, {name: CROSS_ENCODER[name][:-1] + b"!"})
    with pytest.raises(ModelRefused, match=r"ranker: model\.safetensors is not the file it should be"):
        resolve(str(folder))


# -- a cache whose names are hashes -------------------------------------------------------------------------------------


def linked(folder: Path, path: str, content: bytes, blob: str) -> Path:
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / blob).write_bytes(content)
    link = folder / "snapshots" / "c0ffee" / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path("../../blobs") / blob)
    return link.parent


def test_blob_with_another_hash_is_refused(tmp_path: Path) -> None:
    snapshot = linked(tmp_path, "model.safetensors", b"tampered", sha256(b"weights"))
    assert f"delete {tmp_path / 'blobs' / sha256(b'weights')}" in refusal(snapshot)


def test_blob_named_by_git_is_left_alone(tmp_path: Path) -> None:
    assert read(linked(tmp_path, "config.json", b"{}", "0" * 40)).checksum_source is None


def test_only_the_first_link_is_a_name_that_counts(tmp_path: Path) -> None:
    """huggingface_hub may keep a blob in a store shared by all models, under a hash of another kind."""
    snapshot = linked(tmp_path, "model.safetensors", b"weights", sha256(b"weights"))
    store = tmp_path / "store" / "blobs" / ("5" * 64)
    store.parent.mkdir(parents=True)
    blob = tmp_path / "blobs" / sha256(b"weights")
    blob.rename(store)
    blob.symlink_to(store)
    assert read(snapshot).checksum_source == "its name in the hub's cache"
    store.write_bytes(b"tampered")
    assert f"delete {store}" in refusal(snapshot)


def test_list_is_checked_in_a_cache_too(tmp_path: Path) -> None:
    snapshot = linked(tmp_path, "model.safetensors", b"weights", sha256(b"weights"))
    write(snapshot, {"SHA256SUMS": sums({"model.safetensors": b"others"})})
    assert "going by SHA256SUMS" in refusal(snapshot)


# -- what we know ourselves ---------------------------------------------------------------------------------------------


def test_known_hash_is_checked_and_its_remedy_said(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": b"w"})
    assert read(tmp_path, {"model.safetensors": Sum(sha256(b"w"), "me", "do this")}).checksum_source == "me"
    known = {"model.safetensors": Sum(sha256(b"v"), "me", "do this")}
    assert refusal(tmp_path, known).endswith("model.safetensors is not the file it should be, going by me: do this")


def test_known_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "is missing" in refusal(write(tmp_path, {"config.json": b"{}"}), {"model.safetensors": Sum("0" * 64, "me", "do")})


def test_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"mine: model\.safetensors cannot be read: No such file"):
        read_content(tmp_path, ["model.safetensors"], name="mine")


# -- the digest ---------------------------------------------------------------------------------------------------------


def test_digest_is_the_same_for_the_same_bytes_wherever_they_are(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, {**INDEX, **SHARDS}) for name in ("one", "other"))
    assert read(one).digest == read(other).digest


@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "model.safetensors.index.json"])
def test_digest_changes_with_any_byte(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, {**INDEX, **SHARDS})
    before = read(folder).digest
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    write(folder, {name: bytes(content)})
    assert read(folder).digest != before


def test_digest_changes_with_the_pooling(tmp_path: Path) -> None:
    before = read(write(tmp_path, {**SHARDS, "1_Pooling/config.json": b'{"mean": true}'})).digest
    assert read(write(tmp_path, {"1_Pooling/config.json": b'{"mean": false}'})).digest != before


def test_digest_changes_when_shards_are_swapped(tmp_path: Path) -> None:
    folder = write(tmp_path, {**INDEX, **SHARDS})
    before = read(folder).digest
    first, second, _ = SHARDS
    write(folder, {first: SHARDS[second], second: SHARDS[first]})
    assert read(folder).digest != before


def test_digest_ignores_unused_files(tmp_path: Path) -> None:
    folder = write(tmp_path, {**INDEX, **SHARDS})
    before = read(folder).digest
    assert read(write(folder, {"notes.md": b"n", "pytorch_model.bin": b"p"})).digest == before
