"""The requests on which contenders must agree before their speed means anything.

Short and long documents side by side, English and Chinese, so that padding, packing, truncation and another spelling of the
prompt all show. The Chinese sentences are our own.
"""

from __future__ import annotations

from typing import Final

from shortlist.bench.loads import Load, Request, Writer

LENGTHS: Final = (1, 7, 30, 120, 333, 900)
"""Tokens of the English documents of one request."""

CHINESE: Final = (
    Request(
        "怎样才能让面包更松软",
        (
            "和面时多加一点水，让面团在温暖的地方发酵两次，烤出来的面包会更松软。",
            "面包店在街角，每天早上七点开门，傍晚六点打烊。",
            "这座山的土壤松软，雨后容易滑坡，请勿靠近。",
            "酵母需要糖和合适的温度。水太烫会杀死酵母，水太凉则发酵缓慢；用手背试水温，感觉温热即可。" * 6,
        ),
    ),
    Request(
        "What does the lighthouse keeper write down at night? 灯塔日志",
        (
            "夜里每过一小时，守塔人记下风向、浪高和经过的船只。",
            "The keeper notes wind, waves and passing ships once an hour, 每小时一次。",
            "灯塔建于一百年前，塔身漆成红白两色。",
        ),
    ),
)

NUM_ENGLISH: Final = 3


def check_set(writer: Writer, seed: int) -> list[Request]:
    """Return the requests, each with documents of several lengths, in an order that is not by length."""
    return [_english(writer, f"check-{seed}-{number}", turn=number) for number in range(NUM_ENGLISH)] + list(CHINESE)


def _english(writer: Writer, seed: str, *, turn: int) -> Request:
    lengths = LENGTHS[turn:] + LENGTHS[:turn]
    parts = [writer.request(Load("", 1, length), f"{seed}-{length}") for length in lengths]
    return Request(parts[0].query, tuple(part.documents[0] for part in parts))
