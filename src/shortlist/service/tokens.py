"""Tokenize and detokenize, for callers that count, truncate or cache by tokens."""

from __future__ import annotations

import asyncio

from shortlist.scheduler.served_model import ServedModel
from shortlist.types import DetokenizeOutcome, DetokenizeTask, TokenizeOutcome, TokenizeTask


async def tokenize(served: ServedModel, task: TokenizeTask) -> TokenizeOutcome:
    """Return the tokens of every text, in a worker thread.

    Raises:
        InvalidInput: the model has no accessible tokenizer.
    """
    tokens = await asyncio.to_thread(served.encoder.tokens, task.texts, with_special=task.with_special)
    return TokenizeOutcome(model=served.name, max_model_len=served.card.max_model_len, tokens=tokens)


async def detokenize(served: ServedModel, task: DetokenizeTask) -> DetokenizeOutcome:
    """Return the text of every list of ids.

    Raises:
        InvalidInput: an id is unknown, or the model has no accessible tokenizer.
    """

    def decode() -> list[str]:
        return [served.encoder.text_of(ids, skip_special=task.skip_special) for ids in task.ids]

    return DetokenizeOutcome(model=served.name, texts=await asyncio.to_thread(decode))
