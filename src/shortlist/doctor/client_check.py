"""Checks a server for one client: sends what that client sends, and validates the answers as that client does.

`clients.yaml` holds the requests and requirements of each client; `checks` evaluates them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from shortlist.doctor.checks import consumers, problems
from shortlist.errors import BadSetting, UpstreamError

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1

TIMEOUT_S: Final = 60.0
UNAUTHORIZED: Final = 401
MODEL: Final = "$model"
"""How `clients.yaml` calls the model that the server has for a check's task."""
RECORDED: Final = {"rerank": "Qwen/Qwen3-Reranker-0.6B", "embedding": "Qwen/Qwen3-Embedding-0.6B"}
"""The default model name by task, for servers that do not list theirs."""


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """The result of one request of a client.

    Attributes:
        request: Its method and its path.
        problems: What the client cannot read in the answer; empty if it can.
        skipped: Why it was not asked, or None.
    """

    request: str
    problems: tuple[str, ...] = ()
    skipped: str | None = None


def run(url: str, name: str, *, api_key: str | None = None) -> int:
    """Ask a server what a client asks, print what that client would make of it, and return the exit code.

    Raises:
        BadSetting: no client of this name is known; the message lists those that are.
        UpstreamError: the server cannot be reached.
    """
    consumer = known(name)
    console = Console(highlight=False)
    console.print(Text.assemble((str(consumer["consumer"]), "bold"), f" and {url}"))
    console.print(escape(str(consumer["quirk"])), style="dim")
    console.print()
    visits = []
    for visit in check_all(url, consumer, api_key=api_key):
        visits.append(visit)
        for line in lines(visit):
            console.print(line)
    failed = sum(bool(visit.problems) for visit in visits)
    console.print()
    console.print(_verdict(str(consumer["consumer"]), visits, failed))
    return EXIT_FAILED if failed else EXIT_PASSED


def known(name: str) -> Mapping[str, Any]:
    """Return what is known of a client, by its name or the beginning of it.

    Raises:
        BadSetting: no client of this name is known, or several are.
    """
    wanted, known_clients = _plain(name), consumers()
    found = [each for each in known_clients if _plain(each) == wanted] or [
        each for each in known_clients if wanted and _plain(each).startswith(wanted)
    ]
    if len(found) != 1:
        raise BadSetting(f"--client must be one of {', '.join(known_clients)}.")
    return known_clients[found[0]]


def check_all(url: str, consumer: Mapping[str, Any], *, api_key: str | None = None) -> Iterator[ClientCheck]:
    """Yield what comes of each of a client's requests.

    Raises:
        UpstreamError: the server cannot be reached.
    """
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    base = url.rstrip("/").removesuffix("/v1")
    try:
        with httpx2.Client(base_url=base, headers=headers, timeout=TIMEOUT_S) as http:
            served = _served(http)
            for check in consumer["checks"]:
                yield _visit(http, check, served)
    except httpx2.RequestError as error:
        raise UpstreamError(f"{url} cannot be reached: {type(error).__name__}.", is_retryable=True) from None


def lines(visit: ClientCheck) -> Iterator[Text]:
    """Yield what is printed of a visit."""
    if visit.skipped is not None:
        yield Text.assemble(("  skip  ", "dim"), visit.request, (f"  {visit.skipped}", "dim"))
        return
    mark = ("  FAIL  ", "bold red") if visit.problems else ("  ok    ", "green")
    yield Text.assemble(mark, visit.request)
    for complaint in visit.problems:
        yield Text(f"          {complaint}")


def _visit(http: httpx2.Client, check: Mapping[str, Any], served: Mapping[str, str | None]) -> ClientCheck:
    task, body = check["task"], check.get("body")
    model = served[task]
    path = check["path"].replace(MODEL, model or RECORDED[task])
    shown = f"{check['method']} {path}"
    if model is None:
        return ClientCheck(shown, skipped=f"nothing is served there for {task}")
    if body and body.get("model") == MODEL:
        body = {**body, "model": model}
    # The client's idea of a key goes along, but for where a real one is given.
    key = {"authorization": check["key"]} if check["key"] and "authorization" not in http.headers else {}
    answer = http.request(check["method"], path, json=body, headers=key)
    if answer.status_code == UNAUTHORIZED and check["needs"].get("status") != UNAUTHORIZED:
        return ClientCheck(shown, ("status 401: the server wants a key; give it as --api-key, and to the client as well",))
    return ClientCheck(shown, tuple(problems(check["needs"], answer.status_code, answer.content)))


def _served(http: httpx2.Client) -> Mapping[str, str | None]:
    """Return which model a server has for ranking and for embedding; those recorded if it does not say."""
    try:
        cards = http.get("/v1/models").json()["data"]
        kinds = [(card["id"], set(card["tasks"])) for card in cards]
    except (ValueError, KeyError, TypeError):
        return RECORDED
    tasks = {"rerank": "rerank", "embedding": "embed"}
    return {kind: next((name for name, can in kinds if task in can), None) for kind, task in tasks.items()}


def _verdict(who: str, visits: list[ClientCheck], failed: int) -> Text:
    asked = sum(visit.skipped is None for visit in visits)
    if failed:
        said = f" requests of {who} would not be understood, or their answers not."
        return Text.assemble((f"{failed} of {asked}", "bold red"), said)
    return Text.assemble((f"{asked} of {asked}", "bold green"), f" requests of {who} are answered so that it can read them.")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
