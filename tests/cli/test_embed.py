"""`shortlist embed` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from shortlist import Client
from tests.cli.conftest import Shortlist
from tests.support.process import wait_until
from tests.support.terminal import terminal

TEXTS = [f"text number {number}" for number in range(10)]
TEXT = "\n".join(TEXTS) + "\n"

Matrix = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def vectors(url: str) -> Matrix:
    """The server's vectors of the texts."""
    with Client(url) as client:
        return np.stack(client.embed(TEXTS).vectors)


def rows(text: str) -> Matrix:
    found = [json.loads(line) for line in text.splitlines()]
    assert [each["index"] for each in found] == list(range(len(found)))
    return np.array([each["embedding"] for each in found], np.float32)


def read(path: Path) -> Matrix:
    match path.suffix:
        case ".npy":
            return np.asarray(np.load(path, mmap_mode="r"))
        case ".jsonl":
            return rows(path.read_text())
        case _:
            parquet = pytest.importorskip("pyarrow.parquet")
            table = parquet.read_table(path).to_pydict()
            assert table["index"] == list(range(len(table["index"])))
            return np.array(table["embedding"], np.float32)


def test_each_piped_line_becomes_a_vector(shortlist: Shortlist, url: str, vectors: Matrix) -> None:
    done = shortlist("embed", "--url", url, "--batch-size", 3, stdin=TEXT)
    assert (done.returncode, done.stderr) == (0, "")
    assert (rows(done.stdout) == vectors).all()


@pytest.mark.parametrize("suffix", [".jsonl", ".npy", ".parquet"])
def test_suffix_of_out_selects_the_format(shortlist: Shortlist, url: str, vectors: Matrix, tmp_path: Path, suffix: str) -> None:
    texts, out = tmp_path / "texts.jsonl", tmp_path / f"vectors{suffix}"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    arguments = ("embed", texts, "--url", url, "--batch-size", 3, "--out", out)
    done = shortlist(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (read(out) == vectors).all()
    again = shortlist(*arguments)
    assert again.returncode == 2
    assert "already exists" in again.stderr


def test_query_and_dimensions_flags_are_sent(shortlist: Shortlist, url: str) -> None:
    done = shortlist("embed", "--url", url, "--query", "--dimensions", 4, stdin=TEXT)
    with Client(url) as client:
        expected = np.stack(client.embed(TEXTS, is_query=True, dimensions=4).vectors)
    assert (rows(done.stdout) == expected).all()


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_ctrl_c_keeps_the_vectors_so_far(url: str, vectors: Matrix, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"vectors{suffix}"
    arguments = ["embed", "--url", url, "--batch-size", "2", "--out", str(out)]
    with terminal(*arguments) as shown:
        shown.press(TEXT.encode())
        wait_until(lambda: "\n10 " in shown.screen.replace("embedding ", "\n"), 60)
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 130
    assert "Stopped at line 11" in shown.screen
    assert "Traceback" not in shown.screen
    assert (read(out) == vectors).all()


def test_closed_pipe_exits_with_0(url: str) -> None:
    command = f"yes text | {sys.executable} -m shortlist embed --url {url} | head -1; echo ${{PIPESTATUS[1]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["index"] == 0
    assert (code, done.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        ([], "a\n\ncanary\n", 2, ["standard input, line 2: it is blank", "vector n belongs to line n"]),
        (["--out", "vectors.csv"], "a\n", 2, ["must end in one of .jsonl, .npy, .parquet"]),
        (["--dimensions", "99"], "a\n", 2, ["dimensions must be at most 8"]),
        (["nowhere.txt"], "", 2, ["nowhere.txt cannot be read"]),
        (["--out", "/nowhere/out.npy"], "a\n", 3, ["/nowhere/out.npy (--out) cannot be written"]),
    ],
)
def test_invalid_input_is_one_error_line(
    shortlist: Shortlist, url: str, arguments: list[str], stdin: str, code: int, words: list[str]
) -> None:
    done = shortlist("embed", *arguments, "--url", url, stdin=stdin)
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert [word for word in words if word not in last] == []
    assert "canary" not in done.stderr


def test_empty_input_creates_no_file(shortlist: Shortlist, url: str, tmp_path: Path) -> None:
    done = shortlist("embed", "--url", url, "--out", tmp_path / "vectors.npy")
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert "Nothing to embed" in done.stderr
