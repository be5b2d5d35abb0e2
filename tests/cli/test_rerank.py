"""`shortlist rerank` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shortlist import Client
from tests.cli.conftest import Shortlist
from tests.support.process import launched, wait_until
from tests.support.serving import free_port
from tests.support.terminal import CTRL_C, CTRL_D, terminal

QUERY = "red apple"
DOCUMENTS = ["a green pear", "a red apple", "", "an apple"]
TEXT = "\n".join(DOCUMENTS) + "\n"


def rows(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def groups(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"g{number}", "query": f"apple {number}", "documents": ["pear", f"apple {number}", {"text": "apple"}]}
        for number in range(count)
    ]


def lines_of(values: Sequence[object]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.fixture(scope="module")
def ranked(url: str) -> list[dict[str, Any]]:
    """The server's ranking of the documents."""
    filled = {index: text for index, text in enumerate(DOCUMENTS) if text}
    with Client(url) as client:
        results = client.rerank(QUERY, list(filled.values())).results
    return [{"index": list(filled)[each.index], "relevance_score": each.score, "text": each.text} for each in results]


# -- one query ----------------------------------------------------------------------------------------------------------


def test_piped_lines_are_ranked(shortlist: Shortlist, url: str, ranked: list[dict[str, Any]]) -> None:
    done = shortlist("rerank", "-q", QUERY, "--url", url, stdin=TEXT)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout) == ranked
    assert rows(done.stdout)[0]["text"] == "a red apple"


def test_json_objects_with_text_are_documents(
    shortlist: Shortlist, url: str, ranked: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "documents"
    file.write_text("".join(json.dumps({"text": text, "more": 1}) + "\n" if text else "\n" for text in DOCUMENTS))
    done = shortlist("rerank", "-q", QUERY, "--url", url, file, "--batch-size", 2, "--top-n", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout) == ranked[:2]


def test_out_file_appears_only_when_complete(
    shortlist: Shortlist, url: str, ranked: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "ranked.jsonl"
    done = shortlist("rerank", "-q", QUERY, "--url", url, "--out", out, stdin=TEXT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert rows(out.read_text()) == ranked
    again = shortlist("rerank", "-q", QUERY, "--url", url, "--out", out, stdin="other\n")
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert rows(out.read_text()) == ranked
    assert [each.name for each in tmp_path.iterdir()] == ["ranked.jsonl"]


def test_empty_input_has_empty_output(shortlist: Shortlist, url: str) -> None:
    done = shortlist("rerank", "-q", QUERY, "--url", url, stdin="\n\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Nothing to rank" in done.stderr


def test_closed_pipe_exits_with_0(url: str, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_text("".join(f"apple {'x' * 200} {number}\n" for number in range(2000)))
    command = (
        f"{sys.executable} -m shortlist rerank -q apple --url {url} {file} --batch-size 1000 | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["index"] == 0
    assert (code, done.stderr) == ("0", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_disk_behind_a_redirection_is_one_line(url: str) -> None:
    command = [sys.executable, "-m", "shortlist", "rerank", "-q", QUERY, "--url", url]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, input=TEXT.encode(), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, b"error: standard output cannot be written: No space left on device.\n")


# -- groups -------------------------------------------------------------------------------------------------------------


def test_groups_keep_their_order_one_per_line(shortlist: Shortlist, url: str) -> None:
    done = shortlist("rerank", "--url", url, "--top-n", 2, stdin=lines_of(groups(9)))
    assert (done.returncode, done.stderr) == (0, "")
    found = rows(done.stdout)
    assert [(each["group"], each["id"], each["query"]) for each in found] == [
        (number, f"g{number}", f"apple {number}") for number in range(9)
    ]
    for number, each in enumerate(found):
        assert each["model"] == "fake"
        assert [result["text"] for result in each["results"]] == [f"apple {number}", "apple"]
        assert [result["index"] for result in each["results"]] == [1, 2]


def test_failed_group_does_not_stop_the_others(shortlist: Shortlist, url: str, tmp_path: Path) -> None:
    file = tmp_path / "groups.jsonl"
    bad = {"query": "apple", "documents": ["a secret #fail"]}
    file.write_text(lines_of([*groups(1), bad, *groups(1)]))
    done = shortlist("rerank", "--url", url, file)
    assert done.returncode == 1
    one, failed, two = rows(done.stdout)
    assert one["results"] == two["results"]
    assert "results" not in failed
    assert failed["error"]
    assert "1 documents have no score; first: line 2: " in done.stderr
    assert "secret" not in done.stderr


def test_ctrl_c_loses_nothing_and_the_same_command_resumes(shortlist: Shortlist, url: str, tmp_path: Path) -> None:
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    text = lines_of(groups(20))
    assert shortlist("rerank", "--url", url, "--out", whole, stdin=text).returncode == 0
    command = [sys.executable, "-m", "shortlist", "rerank", "--url", url, "--out", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(lines_of(groups(20)[:7]))
        process.stdin.flush()
        wait_until(lambda: out.exists() and out.read_text().count("\n") == 7, 60)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert message == f"{out} has 7 groups; the same command resumes from there.\n"
    out.write_bytes(out.read_bytes()[:-20])  # as after a power cut
    done = shortlist("rerank", "--url", url, "--out", out, stdin=text)
    assert (done.returncode, done.stdout) == (0, "")
    assert out.read_bytes() == whole.read_bytes()
    once_more = shortlist("rerank", "--url", url, "--out", out, stdin=text)
    assert (once_more.returncode, once_more.stderr) == (0, "Nothing left to rank.\n")
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("flags", [[], ["--instruction", "other"]])
def test_run_does_not_resume_with_other_input_or_flags(
    shortlist: Shortlist, url: str, tmp_path: Path, flags: list[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert shortlist("rerank", "--url", url, "--out", out, stdin=lines_of(groups(3))).returncode == 0
    before = out.read_bytes()
    changed = groups(4)
    if not flags:
        changed[1]["documents"].append("a new one")
    done = shortlist("rerank", "--url", url, "--out", out, *flags, stdin=lines_of(changed))
    assert done.returncode == 2
    assert "has changed;" in done.stderr
    assert f"line {1 if flags else 2}" in done.stderr
    assert out.read_bytes() == before


# -- a terminal ---------------------------------------------------------------------------------------------------------


def test_terminal_shows_a_table_and_progress(url: str, tmp_path: Path) -> None:
    file = tmp_path / "documents.txt"
    file.write_text("an apple\x1b[31m in red\na pear\n")
    with terminal("rerank", "-q", QUERY, str(file), "--url", url) as shown:
        assert shown.end() == 0
    assert "ranking" in shown.screen
    assert "2/2" in shown.screen
    assert "relevance_score" not in shown.screen
    after = shown.screen[shown.screen.rindex("score") :]
    assert "an apple [31m in red" in after
    assert after.index("apple") < after.index("pear")


def test_documents_can_be_typed(url: str) -> None:
    with terminal("rerank", "-q", QUERY, "--url", url) as shown:
        wait_until(lambda: shown.screen == "Reading lines from the terminal; Ctrl-D ends the input.\n", 60)
        shown.press(b"typed apple\n" + CTRL_D)
        assert shown.end() == 0
    assert shown.screen.count("typed apple") == 2


def test_ctrl_c_on_a_terminal_prints_no_traceback(url: str) -> None:
    with terminal("rerank", "--url", url) as shown:
        shown.press(lines_of(groups(1)).encode())
        wait_until(lambda: "score" in shown.screen, 60)
        shown.press(CTRL_C)
        assert shown.end() == 130
    assert "Traceback" not in shown.screen


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        ([], "not json\n", 2, ["standard input, line 1: it is not JSON", "-q"]),
        ([], lines_of(groups(1)) + '{"query": "canary"}\n', 2, ["line 2: its `documents` must be a list"]),
        (["-q", "q", "--input-format", "jsonl"], '{"text": "a"}\ncanary\n', 2, ["line 2: it is not JSON", '{"text": "..."}']),
        (["-q", "q"], lines_of(groups(1)), 2, ["line 1: it is a group", "leave -q out"]),
        (["-q", "q", "nowhere.txt"], "", 2, ["nowhere.txt cannot be read: No such file"]),
        (["-q", "  "], "a\n", 2, ["--query must not be empty"]),
        (["-q", "q", "--dtype", "float32"], "a\n", 2, ["--dtype is for a model in this process"]),
        (["-q", "q", "--model", "canary"], "a\n", 3, ["No such model is served"]),
        (["-q", "q", "--out", "/nowhere/out"], "a\n", 3, ["/nowhere/out (--out) cannot be written: No such file"]),
    ],
)
def test_invalid_input_is_one_error_line(
    shortlist: Shortlist, url: str, arguments: list[str], stdin: str, code: int, words: list[str]
) -> None:
    done = shortlist("rerank", *arguments, "--url", url, stdin=stdin)
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert [word for word in words if word not in last] == []
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr


def test_file_is_validated_before_the_first_request(shortlist: Shortlist, url: str, tmp_path: Path) -> None:
    file = tmp_path / "groups.jsonl"
    file.write_bytes(lines_of(groups(3)).encode() + b'{"query": "\xff"}\n')
    done = shortlist("rerank", file, "--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{file}, line 4: it is not JSON" in done.stderr


def test_named_pipe_is_read_once(shortlist: Shortlist, url: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"cat > {pipe}"], stdin=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        writer.stdin.write(lines_of(groups(2)))
        writer.stdin.close()
        done = shortlist("rerank", pipe, "--url", url)
    assert (done.returncode, len(rows(done.stdout))) == (0, 2)


def test_unreachable_server_error_names_the_address(shortlist: Shortlist) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    done = shortlist("rerank", "-q", "q", "--url", address, stdin="a\n")
    assert (done.returncode, done.stdout) == (3, "")
    assert f"No server answers at {address}" in done.stderr


def test_wrong_key_is_reported_and_the_environment_key_is_used(shortlist: Shortlist) -> None:
    with launched("tests.support.fakeserver", "--api-key", "sesame") as server:
        arguments = ("rerank", "-q", "q", "--url", server.url)
        wrong = shortlist(*arguments, "--api-key", "canary", stdin="a\n")
        right = shortlist(*arguments, stdin="a\n", SHORTLIST_API_KEY="sesame")
    assert wrong.returncode == 3
    assert "key" in wrong.stderr
    assert "canary" not in wrong.stderr
    assert (right.returncode, len(rows(right.stdout))) == (0, 1)


# -- a model in this process --------------------------------------------------------------------------------------------


def test_ctrl_c_stops_a_model_in_this_process(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "shortlist", "rerank", "--model", "demo", "--out", str(out)]
    others = {"SHORTLIST_API_KEY": "of-a-server", "SHORTLIST_MODELS": "no/such-model", "SHORTLIST_SELF_TEST": "off"}
    env = {**os.environ, **others}  # noqa: TID251
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdin is not None
        process.stdin.write(lines_of(groups(2)))
        process.stdin.flush()
        wait_until(lambda: process.poll() is not None or (out.exists() and out.read_text().count("\n") == 2), 90)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert message == f"{out} has 2 groups; the same command resumes from there.\n"
    assert process.returncode == 130
    assert [each["results"][0]["text"] for each in rows(out.read_text())] == ["apple 0", "apple 1"]
