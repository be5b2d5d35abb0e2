"""One request to one server: sent, waited for, judged. Whatever goes wrong with it is an outcome and never an exception."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from shortlist.bench.texts import Request
from shortlist.bench.traffic.dialect import Numbers
from shortlist.bench.traffic.tally import Fate, fate_of
from shortlist.bench.traffic.target import Target
from shortlist.bench.traffic.wire import Pool, Reply
from shortlist.errors import UpstreamError

MAX_WHY_CHARS: Final = 160
_NO_SOCKET: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request.

    Attributes:
        fate: In a word.
        at_s: When that was known, by `time.perf_counter`.
        status: Of the answer; None if there was none.
        retry_after: What a refusal says about when to come back.
        numbers: Of the documents, if all is well.
        why: What is wrong otherwise, in the server's words where it has any.
    """

    fate: Fate
    at_s: float
    status: int | None = None
    retry_after: str | None = None
    numbers: Numbers | None = None
    why: str = ""


class Asker:
    """Asks one server, over as many connections as there are questions under way.

    Args:
        target: The server.
        timeout_s: How long an answer may take before it counts as lost.
    """

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.target = target
        self._timeout_s = timeout_s
        self._head = target.head()
        self._pool = Pool(target.address)

    async def ask(self, request: Request, due_s: float | None = None) -> Outcome:
        """Send a request and return what became of it.

        Args:
            request: What to ask.
            due_s: When it should have been sent, by `time.perf_counter`; now, if that was not said.
        """
        left_s = self._timeout_s if due_s is None else due_s + self._timeout_s - time.perf_counter()
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                wire = await self._pool.take()
                reply = await wire.ask(self.target.message(self._head, request))
        except TimeoutError:
            return Outcome(fate=Fate.LOST, at_s=time.perf_counter(), why=f"no answer within {self._timeout_s:g} s")
        except OSError as error:
            fate = Fate.UNSENT if error.errno in _NO_SOCKET else Fate.CUT
            return Outcome(fate=fate, at_s=time.perf_counter(), why=_short(error.strerror or str(error)))
        self._pool.give(wire)
        return self._judged(reply, len(request.documents))

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.close()

    def _judged(self, reply: Reply, num_documents: int) -> Outcome:
        fate, why = fate_of(reply.status), ""
        numbers: Numbers | None = None
        if fate is Fate.OK:
            try:
                numbers = self.target.dialect.read(reply.body, num_documents)
            except UpstreamError as error:
                fate, why = Fate.WRONG, error.message
        else:
            why = f"{reply.status} {said(reply.body)}".strip()
        return Outcome(fate=fate, at_s=reply.at_s, status=reply.status, retry_after=reply.retry_after, numbers=numbers, why=why)


def said(body: bytes) -> str:
    """Return what the body of a refusal says to people, in whichever of the usual places it says it."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _short(body.decode(errors="replace"))
    return _short(next(_messages(answer), ""))


def _messages(answer: object) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, Mapping):
        for key in ("error", "message", "detail"):
            yield from _messages(answer.get(key))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_WHY_CHARS else f"{line[:MAX_WHY_CHARS]} ..."
