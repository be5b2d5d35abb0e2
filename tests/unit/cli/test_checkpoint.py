"""Files of a run that was stopped: what is whole stays, what is torn goes, and what is of another run is left alone."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from shortlist.cli.checkpoint import Digest, checkpoint, remaining, whole_file
from shortlist.cli.input import InputGroup, Text
from shortlist.errors import BadSetting, InvalidInput

DIGEST = Digest("model", "instruction", 3)


def group(position: int, *documents: str, query: str = "q") -> InputGroup:
    texts = tuple(Text(index, text) for index, text in enumerate(documents or ("a", "b")))
    return InputGroup(position=position, line=position + 1, query=query, texts=texts)


def line(position: int, digest: str = "d") -> bytes:
    return orjson.dumps({"group": position, "results": [], "digest": digest}) + b"\n"


@pytest.mark.parametrize("torn", [b"", b"{", line(2)[:-1]])
def test_torn_line_is_cut_off_and_the_rest_is_kept(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(line(0, "x") + line(1, "y") + torn)
    with checkpoint(path) as (file, done):
        assert done == ["x", "y"]
        file.write(line(2))
    assert path.read_bytes() == line(0, "x") + line(1, "y") + line(2)


@pytest.mark.parametrize("wrong", [b"mine\n", b"[]\n", line(0), b'{"group": 1}\n', b'{"group": 1, "digest": 3}\n'])
def test_foreign_file_is_kept(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(line(0) + wrong)
    with pytest.raises(InvalidInput, match="line 2, is not group 1 of an interrupted run"), checkpoint(path):
        pass
    assert path.read_bytes() == line(0) + wrong


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with checkpoint(path), pytest.raises(InvalidInput, match="Another process is writing"), checkpoint(path):
        pass


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(BadSetting, match=r"nowhere/out \(--out\) cannot be written: No such file"),
        checkpoint(tmp_path / "nowhere/out"),
    ):
        pass
    with pytest.raises(BadSetting, match="cannot be written"), whole_file(tmp_path / "nowhere/out"):
        pass


def test_groups_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    groups = [group(0), group(1), group(2)]
    done = [DIGEST.of(each) for each in groups[:2]]
    assert list(remaining(groups, tmp_path, done, DIGEST)) == groups[2:]
    assert list(remaining(groups, tmp_path, [], DIGEST)) == groups
    assert list(remaining(groups[:2], tmp_path, done, DIGEST)) == []


def test_input_that_has_changed_is_refused_before_the_first_group(tmp_path: Path) -> None:
    done = [DIGEST.of(group(0)), DIGEST.of(group(1))]
    with pytest.raises(InvalidInput, match="line 2, is not of line 2 of the input"):
        next(remaining([group(0), group(1, "other"), group(2)], tmp_path, done, DIGEST))
    with pytest.raises(InvalidInput, match="has 2 groups, and the input has 1"):
        list(remaining([group(0)], tmp_path, done, DIGEST))


def test_digest_names_everything_that_a_ranking_follows_from() -> None:
    others = [
        Digest("other", "instruction", 3).of(group(0)),
        Digest("model", None, 3).of(group(0)),
        Digest("model", "instruction", None).of(group(0)),
        DIGEST.of(group(0, query="other")),
        DIGEST.of(group(0, "b", "a")),
        DIGEST.of(group(0, "a", "b", "c")),
    ]
    assert len({DIGEST.of(group(0)), *others}) == 7
    assert DIGEST.of(group(5)) == DIGEST.of(group(0))


def test_whole_file_is_there_once_it_is_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        stop_halfway(path)
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert path.read_bytes() == b"whole"
    with pytest.raises(InvalidInput, match="is there already"), whole_file(path):
        pass


def stop_halfway(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
