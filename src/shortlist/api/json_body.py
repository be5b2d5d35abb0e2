"""Reads a JSON body. Its values and their depth are counted before anything is built from it.

A parser holds the interpreter's lock, and a body of empty values becomes some thirty times its size in memory. The scan reads
blocks with numpy, which releases the lock. It does not validate.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from starlette.requests import Request

from shortlist.api.dialects.dialect import Json
from shortlist.errors import InvalidInput

MAX_VALUES: Final = 500_000
"""Most values in one body, those in arrays and objects included; a parser builds them in about 0.1 s."""

MAX_DEPTH: Final = 200
"""Most arrays and objects within each other."""

SMALL_BYTES: Final = 65_536
"""Smaller bodies are not scanned: they cannot hold many values."""

INLINE_BYTES: Final = 1 << 20
"""Larger bodies are scanned in a thread."""

BLOCK_BYTES: Final = 1 << 18
QUOTE: Final = ord('"')
BACKSLASH: Final = ord("\\")

_STEPS: Final = np.zeros(256, dtype=np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_IS_STRUCTURE: Final = _STEPS != 0
_IS_STRUCTURE[ord(",")] = True


_LONE_SURROGATE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Matches escapes one after another; the group is half of a pair."""

SMALL_REQUEST_TURNS: Final = 8
"""Turns of the event loop; a small request takes fewer from its connection to its answer."""

MATCHES_PER_TURN: Final = 20_000
"""Escapes to look at before other requests have a turn."""

SURROGATES: Final = (rb"\ud", rb"\uD")
REPLACEMENT: Final = rb"\ufffd"


async def read_json(request: Request) -> Json:
    """Return the fields of a body, which may begin with a byte order mark. Unpaired surrogates become U+FFFD.

    Raises:
        InvalidInput: it is not a JSON object, or has too many values.
    """
    body = (await request.body()).removeprefix(codecs.BOM_UTF8)
    if len(body) <= INLINE_BYTES:
        check_size(body)
    else:
        await asyncio.to_thread(check_size, body)
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fields = await _without_lone_surrogates(body, error)
    if len(body) > INLINE_BYTES:
        await let_others_run()
    if not isinstance(fields, dict):
        raise InvalidInput("The body must be a JSON object.")
    return fields


async def let_others_run() -> None:
    """Let small requests run from connection to answer, between two long steps of a large one."""
    for _ in range(SMALL_REQUEST_TURNS):
        await asyncio.sleep(0)


async def _without_lone_surrogates(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Parse a body again, with the replacement character for unpaired surrogates.

    Raises:
        InvalidInput: it is not JSON all the same.
    """
    invalid = InvalidInput(f"The body is not valid JSON: {error.msg}.")
    if not any(half in body for half in SURROGATES):
        raise invalid
    repaired = bytearray(body)
    for number, found in enumerate(_LONE_SURROGATE.finditer(body)):
        if found[1]:
            repaired[found.start() : found.end()] = REPLACEMENT
        if number % MATCHES_PER_TURN == MATCHES_PER_TURN - 1:
            await asyncio.sleep(0)
    try:
        return orjson.loads(repaired)
    except orjson.JSONDecodeError:
        raise invalid from None


def check_size(body: bytes) -> None:
    """Check a body's values and depth.

    Raises:
        InvalidInput: it has more than `MAX_VALUES`, or is deeper than `MAX_DEPTH`.
    """
    if len(body) <= SMALL_BYTES:
        return
    scan = _Scan()
    data = np.frombuffer(body, dtype=np.uint8)
    for start in range(0, len(data), BLOCK_BYTES):
        scan.read(data[start : start + BLOCK_BYTES])
        if scan.num_values > MAX_VALUES:
            raise InvalidInput(f"The body has more than {MAX_VALUES} values.")
        if scan.max_depth > MAX_DEPTH:
            raise InvalidInput(f"The body has more than {MAX_DEPTH} arrays or objects within each other.")


class _Scan:
    """The state between blocks: the values and the depth so far, and whether a string or an escape goes on."""

    def __init__(self) -> None:
        self.num_values = 1
        self.max_depth = 0
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def read(self, block: npt.NDArray[np.uint8]) -> None:
        quotes = self._quotes(block)
        structure = np.flatnonzero(_IS_STRUCTURE[block])
        in_string = (np.searchsorted(quotes, structure) + self._in_string) % 2 == 1
        steps = _STEPS[block[structure[~in_string]]]
        self.num_values += len(steps) - int(np.count_nonzero(steps == -1))  # each comma and each opening bracket announces one
        if len(steps):
            depths = self._depth + np.cumsum(steps, dtype=np.int64)
            self.max_depth = max(self.max_depth, int(depths.max()))
            self._depth = int(depths[-1])
        self._in_string ^= len(quotes) % 2 == 1

    def _quotes(self, block: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
        """Return the positions of quotes that begin or end a string: those after an even number of backslashes."""
        quotes = np.flatnonzero(block == QUOTE)
        escapes = np.flatnonzero(block == BACKSLASH)
        was_escaped = self._is_escaped
        if not len(escapes):
            self._is_escaped = False
            return quotes[1:] if was_escaped and len(quotes) and quotes[0] == 0 else quotes
        # The run of backslashes that ends before each position, by the start of the run.
        is_start = np.diff(escapes, prepend=-2) > 1
        starts = escapes[np.maximum.accumulate(np.where(is_start, np.arange(len(escapes)), 0))]
        run_lengths = escapes - starts + 1
        if was_escaped:
            run_lengths[starts == 0] += 1  # a backslash at the end of the last block belongs to the first run
        last = np.searchsorted(escapes, quotes) - 1
        follows = (last >= 0) & (escapes[last] == quotes - 1)
        is_escaped = follows & (run_lengths[last] % 2 == 1)
        if was_escaped and len(quotes) and quotes[0] == 0:
            is_escaped[0] = True
        self._is_escaped = bool(escapes[-1] == len(block) - 1 and run_lengths[-1] % 2 == 1)
        found: npt.NDArray[np.intp] = quotes[~is_escaped]
        return found
