"""Tokenize and detokenize, for callers that count, truncate or cache by tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from shortlist.errors import RequestTooLarge
from shortlist.scheduler.queue import Flow
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.tokenizing import in_thread
from shortlist.text.reading import check_wanted
from shortlist.types import DetokenizeOutcome, DetokenizeTask, RequestOptions, Token, TokenizeOutcome, TokenizeTask

T = TypeVar("T")

MAX_CHARS: Final = 131_072
"""Most characters of one tokenize request: all tokens are returned, with some 250 bytes of memory for each."""

CHAR_BYTES: Final = 750
"""Memory for the answer to one character, which may be three tokens."""

ID_BYTES: Final = 64
"""Memory for one token id to detokenize, and for its text."""


async def tokenize(served: ServedModel, task: TokenizeTask) -> TokenizeOutcome:
    """Return the tokens of every text, in a worker thread.

    Raises:
        InvalidInput: the model has no accessible tokenizer.
        RequestTooLarge: the texts have more than `MAX_CHARS`.
        Overloaded: the request is refused.
        DeadlineExceeded: the deadline passed.
    """
    num_chars = sum(map(len, task.texts))
    if num_chars > MAX_CHARS:
        raise RequestTooLarge(f"The texts have {num_chars} characters; at most {MAX_CHARS} are tokenized in one request.")

    def read() -> list[list[Token]]:
        tokens = []
        for text in task.texts:
            check_wanted()
            tokens += served.encoder.tokens([text], with_special=task.with_special)
        return tokens

    tokens = await _admitted(served, read, task.options, num_chars * CHAR_BYTES)
    return TokenizeOutcome(model=served.name, max_model_len=served.card.max_model_len, tokens=tokens)


async def detokenize(served: ServedModel, task: DetokenizeTask) -> DetokenizeOutcome:
    """Return the text of every list of ids.

    Raises:
        InvalidInput: an id is unknown, or the model has no accessible tokenizer.
        Overloaded: the request is refused.
        DeadlineExceeded: the deadline passed.
    """

    def decode() -> list[str]:
        texts = []
        for ids in task.ids:
            check_wanted()
            texts.append(served.encoder.text_of(ids, skip_special=task.skip_special))
        return texts

    texts = await _admitted(served, decode, task.options, sum(map(len, task.ids)) * ID_BYTES)
    return DetokenizeOutcome(model=served.name, texts=texts)


async def _admitted(served: ServedModel, function: Callable[[], T], options: RequestOptions, num_bytes: int) -> T:
    """Run a function with a permit. It takes no time of the engine, so it is refused for memory or too many requests only."""
    with served.admission.admit(0, num_bytes=num_bytes, flow=Flow.of(options), timeout_s=options.timeout_s):
        return await in_thread(function, options.timeout_s)
