"""What the READMEs show is what a newcomer gets."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.process import launched

READMES = ["README.md", "README.zh-CN.md"]
FIRST_CURL = re.compile(r"```bash\n(curl [^\n]+)\n```\n\n```json\n([^\n]+)\n```")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with launched("shortlist", "serve", "demo", "--no-ui") as server:
        yield server.url


@pytest.mark.parametrize("name", READMES)
def test_first_curl_gives_the_shown_answer(name: str, url: str) -> None:
    found = FIRST_CURL.search(Path(name).read_text(encoding="utf-8"))
    assert found
    words, shown = shlex.split(found[1]), json.loads(found[2])
    path = next(word for word in words if word.startswith("localhost:8080")).removeprefix("localhost:8080")
    answer = httpx2.post(url + path, content=words[words.index("-d") + 1]).json()
    assert [result["index"] for result in answer["results"]] == [result["index"] for result in shown["results"]]
    for one, other in zip(answer["results"], shown["results"], strict=True):
        assert one["relevance_score"] == pytest.approx(other["relevance_score"], abs=1e-3)
    assert answer.keys() == shown.keys()
    assert answer["usage"] == shown["usage"]


@pytest.mark.parametrize("name", READMES)
def test_examples_of_our_client_run(name: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"```python\n(from shortlist import .*?)```", Path(name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2
    for example in found:
        exec(compile(example.replace("http://localhost:8080", url), name, "exec"), {})
    assert capsys.readouterr().out.splitlines()[1:] == ["what is a cat cats purr", "what is a dog dogs bark"]


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"])
def test_links_lead_somewhere(name: str) -> None:
    page = Path(name)
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("name", READMES)
def test_flags_and_variables_exist(name: str) -> None:
    from shortlist.config import ENV_PREFIX, fields

    names = {name for _, name, _ in fields()}
    text = Path(name).read_text(encoding="utf-8")
    for variable in re.findall(rf"{ENV_PREFIX}(\w+)", text):
        assert variable.lower() in names
    for flag in re.findall(r"`--([a-z-]+)", text):
        assert flag.replace("-", "_") in names


@pytest.mark.parametrize("name", READMES)
def test_sizes_are_those_of_the_benchmarks(name: str) -> None:
    rows = re.findall(r"\| ([\d.]+) GiB \| ([\d.]+) s\D+([\d.]+)", Path(name).read_text(encoding="utf-8"))
    servers = Path("docs/benchmarks.md").read_text(encoding="utf-8").partition("<!-- measured servers: begin")[2]
    for contender, (memory, seconds, rate) in zip(["ours_http", "ours_int8"], rows, strict=True):
        assert re.search(rf"^\| {contender} \|[^\n]*\| {memory} GiB \|", servers, re.MULTILINE)
        assert f"| {contender} | {seconds} |" in servers.partition("### 10x100")[2].partition("###")[0]
        assert float(rate) == pytest.approx(10 / float(seconds), abs=0.05)


def test_both_languages_show_the_same_commands() -> None:
    commands = [
        re.findall(r"^(?:make|\.venv/bin/shortlist) .*$", Path(name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in READMES
    ]
    assert commands[0] == commands[1]
    assert {"make demo", "make test"} <= set(commands[0])
