"""What PromQL expressions name, and their durations made short: as much of the language as dashboards and rules need."""

from __future__ import annotations

import re

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
BRACES = re.compile(r"\{[^{}]*\}")
RANGE = re.compile(r"\[[^\]]*\]")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
NAME = re.compile(r"(?<![\w:.])[A-Za-z_:][\w:]*(?!\s*\()\b")
WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "sum", "by", "without", "on", "ignoring"})

DURATION = re.compile(r"(?<=\[)(\d+)([smh])(?=[\]:])|(?<=for: )(\d+)([smh])")
SECONDS = {"s": 1, "m": 60, "h": 3600}


def series_of(expression: str) -> set[str]:
    """Return the names of the series that an expression reads."""
    bare = RANGE.sub("", GROUPING.sub("", BRACES.sub("", STRING.sub("", expression))))
    return {name for name in NAME.findall(bare) if name.lower() not in WORDS}


def shortened(text: str, factor: int) -> str:
    """Return expressions or rules with every range (`[5m]`) and every patience (`for: 5m`) divided by this.

    What is asked stays what it is; only how long it is looked at, and how long it must hold, becomes shorter.
    """

    def short(match: re.Match[str]) -> str:
        number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
        return f"{1000 * int(number) * SECONDS[unit] // factor}ms"

    return DURATION.sub(short, text)
