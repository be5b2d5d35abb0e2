"""Tokenize and detokenize, for callers that count, truncate or cache by tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from shortlist.errors import DeadlineExceeded
from shortlist.scheduler.dispatcher import LATE
from shortlist.scheduler.served_model import ServedModel
from shortlist.types import DetokenizeOutcome, DetokenizeTask, RequestOptions, TokenizeOutcome, TokenizeTask

T = TypeVar("T")


async def tokenize(served: ServedModel, task: TokenizeTask) -> TokenizeOutcome:
    """Return the tokens of every text, in a worker thread.

    Raises:
        InvalidInput: the model has no accessible tokenizer.
        DeadlineExceeded: the deadline passed.
    """
    tokens = await _in_thread(partial(served.encoder.tokens, task.texts, with_special=task.with_special), task.options)
    return TokenizeOutcome(model=served.name, max_model_len=served.card.max_model_len, tokens=tokens)


async def detokenize(served: ServedModel, task: DetokenizeTask) -> DetokenizeOutcome:
    """Return the text of every list of ids.

    Raises:
        InvalidInput: an id is unknown, or the model has no accessible tokenizer.
        DeadlineExceeded: the deadline passed.
    """

    def decode() -> list[str]:
        return [served.encoder.text_of(ids, skip_special=task.skip_special) for ids in task.ids]

    return DetokenizeOutcome(model=served.name, texts=await _in_thread(decode, task.options))


async def _in_thread(function: Callable[[], T], options: RequestOptions) -> T:
    try:
        async with asyncio.timeout(options.timeout_s):
            return await asyncio.to_thread(function)
    except TimeoutError:
        raise DeadlineExceeded(LATE) from None
