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
from shortlist.models import RECOMMENDED
from shortlist.types import EMBED, RERANK

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1

TIMEOUT_S: Final = 60.0
UNAUTHORIZED: Final = 401
MODEL: Final = "$model"
"""Placeholder in `clients.yaml` for the server's model of a check's task."""
DEFAULT_MODELS: Final = {"rerank": RECOMMENDED[RERANK], "embedding": RECOMMENDED[EMBED]}
"""The default model name by task, for servers that do not list theirs."""


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """The result of one request of a client.

    Attributes:
        request: Its method and path.
        problems: What the client cannot parse in the answer; empty if it can.
        skipped: Why it was not sent, or None.
    """

    request: str
    problems: tuple[str, ...] = ()
    skipped: str | None = None


def run(url: str, name: str, *, api_key: str | None = None) -> int:
    """Send the requests of a client to a server, print the results, and return the exit code.

    Raises:
        BadSetting: the client is unknown; the message lists the known ones.
        UpstreamError: the server cannot be reached.
    """
    consumer = known(name)
    console = Console(highlight=False)
    console.print(Text.assemble((str(consumer["consumer"]), "bold"), f" and {url}"))
    console.print(escape(str(consumer["quirk"])), style="dim")
    console.print()
    results = []
    for result in check_all(url, consumer, api_key=api_key):
        results.append(result)
        for line in lines(result):
            console.print(line)
    failed = sum(bool(result.problems) for result in results)
    console.print()
    console.print(_summary(str(consumer["consumer"]), results, failed))
    return EXIT_FAILED if failed else EXIT_PASSED


def known(name: str) -> Mapping[str, Any]:
    """Return the table entry of a client, by its name or a unique prefix.

    Raises:
        BadSetting: no client or several clients match.
    """
    wanted, known_clients = _plain(name), consumers()
    found = [each for each in known_clients if _plain(each) == wanted] or [
        each for each in known_clients if wanted and _plain(each).startswith(wanted)
    ]
    if len(found) != 1:
        raise BadSetting(f"--client must be one of {', '.join(known_clients)}.")
    return known_clients[found[0]]


def check_all(url: str, consumer: Mapping[str, Any], *, api_key: str | None = None) -> Iterator[ClientCheck]:
    """Yield the result of each request of a client.

    Raises:
        UpstreamError: the server cannot be reached.
    """
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    base = url.rstrip("/").removesuffix("/v1")
    try:
        with httpx2.Client(base_url=base, headers=headers, timeout=TIMEOUT_S) as http:
            models = _models_by_task(http)
            for check in consumer["checks"]:
                yield _check(http, check, models)
    except httpx2.RequestError as error:
        raise UpstreamError(f"{url} cannot be reached: {type(error).__name__}.", is_retryable=True) from None


def lines(result: ClientCheck) -> Iterator[Text]:
    """Yield the output lines of a result."""
    if result.skipped is not None:
        yield Text.assemble(("  skip  ", "dim"), result.request, (f"  {result.skipped}", "dim"))
        return
    mark = ("  FAIL  ", "bold red") if result.problems else ("  ok    ", "green")
    yield Text.assemble(mark, result.request)
    for problem in result.problems:
        yield Text(f"          {problem}")


def _check(http: httpx2.Client, check: Mapping[str, Any], models: Mapping[str, str | None]) -> ClientCheck:
    task, body = check["task"], check.get("body")
    model = models[task]
    path = check["path"].replace(MODEL, model or DEFAULT_MODELS[task])
    shown = f"{check['method']} {path}"
    if model is None:
        return ClientCheck(shown, skipped=f"the server has no model for {task}")
    if body and body.get("model") == MODEL:
        body = {**body, "model": model}
    # The client's own Authorization header is sent unless a key is given.
    key = {"authorization": check["key"]} if check["key"] and "authorization" not in http.headers else {}
    answer = http.request(check["method"], path, json=body, headers=key)
    if answer.status_code == UNAUTHORIZED and check["needs"].get("status") != UNAUTHORIZED:
        return ClientCheck(shown, ("status 401: the server requires a key; give it with --api-key, and to the client as well",))
    return ClientCheck(shown, tuple(problems(check["needs"], answer.status_code, answer.content)))


def _models_by_task(http: httpx2.Client) -> Mapping[str, str | None]:
    """Return the server's model by task; the defaults if it does not list models."""
    try:
        entries = http.get("/v1/models").json()["data"]
        kinds = [(entry["id"], set(entry["tasks"])) for entry in entries]
    except (ValueError, KeyError, TypeError):
        return DEFAULT_MODELS
    tasks = {"rerank": "rerank", "embedding": "embed"}
    return {kind: next((name for name, can in kinds if task in can), None) for kind, task in tasks.items()}


def _summary(client: str, results: list[ClientCheck], failed: int) -> Text:
    num_sent = sum(result.skipped is None for result in results)
    if failed:
        text = f" requests of {client} failed."
        return Text.assemble((f"{failed} of {num_sent}", "bold red"), text)
    return Text.assemble((f"{num_sent} of {num_sent}", "bold green"), f" requests of {client} passed.")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
