"""The flags of `shortlist bench load`, each in one place, and the plan they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shortlist.bench.outputs import Outputs
from shortlist.bench.traffic import plan as defaults
from shortlist.bench.traffic.dialect import DIALECTS
from shortlist.bench.traffic.plan import Plan
from shortlist.bench.traffic.schedule import DEFAULT_USERS, Level
from shortlist.bench.traffic.target import targets
from shortlist.config import Settings

Given = Mapping[str, Any]
"""What was given on the command line, by the name of the flag; read by the types that `FLAGS` states."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: As it is written, with underscores.
        kind: What it is read as.
        help: What it is for.
        default: What holds without it.
        metavar: What its value looks like, where its type does not say.
        field: The field of the plan that it is; none if it is a part of one.
    """

    name: str
    kind: Any
    help: str
    default: object = None
    metavar: str | None = None
    field: str | None = None


FLAGS: Final = (
    Flag("contender", list[str] | None, "Another server, to compare.", metavar="NAME=URL"),
    Flag(
        "users",
        list[int] | None,
        "A level: so many users, each waiting for an answer before asking again. "
        f"{', '.join(map(str, DEFAULT_USERS))} if there is neither --users nor --rate.",
    ),
    Flag(
        "rate",
        list[float] | None,
        "A level: so many requests a second, arriving on a schedule of their own, however slow the answers are.",
    ),
    Flag("duration", float, "Seconds for which a level is measured.", defaults.DURATION_S, field="duration_s"),
    Flag(
        "warm_up",
        float,
        "Seconds before that; longer, if some user had no answer by then.",
        defaults.WARM_UP_S,
        field="warm_up_s",
    ),
    Flag("repeats", int, "Rounds of all levels.", 1, field="repeats"),
    Flag("documents", int, "Documents in a request.", defaults.NUM_DOCUMENTS, field="num_documents"),
    Flag("words", int, "Words in a document.", defaults.NUM_WORDS, field="num_words"),
    Flag("seen", float, "Share of requests that were asked before, to measure caches; 0 to 1.", 0.0, "SHARE", "seen_share"),
    Flag("dialect", list[str] | None, "What the servers speak, or that one; rerank if not given.", metavar="[NAME=]DIALECT"),
    Flag("model", list[str] | None, "The model that requests name.", metavar="[NAME=]MODEL"),
    Flag("api_key", list[str] | None, "The key that requests carry.", metavar="[NAME=]KEY"),
    Flag(
        "check",
        int,
        "Ask the documents of so many answers of a level again, each alone, and compare.",
        0,
        "NUMBER",
        "num_checked",
    ),
    Flag("tolerance", float, "How far apart their numbers may be.", defaults.TOLERANCE, field="tolerance"),
    Flag("within", float | None, "Also count what came within so many seconds; drawn as a line.", None, "SECONDS", "within_s"),
    Flag("timeout", float, "Seconds after which a request without an answer is lost.", defaults.TIMEOUT_S, field="timeout_s"),
    Flag("seed", int, "Another number draws other texts, arrivals and orders.", 0, field="seed"),
    Flag("json", Path | None, "Write everything that was measured.", metavar="FILE"),
    Flag(
        "markdown",
        Path | None,
        "Write the tables, between the markers (of that name) if the file has them.",
        metavar="FILE[#NAME]",
    ),
    Flag(
        "plot",
        list[Path] | None,
        "Draw the curves: a picture, or a page that has the tables, too.",
        metavar="FILE.png|FILE.html",
    ),
)

EPILOG: Final = (
    f"Dialects: {'; '.join(f'{each.name} ({each.speakers})' for each in DIALECTS.values())}. Without --api-key, URL is sent "
    "the first key of SHORTLIST_API_KEY, and other contenders none. Exit codes: 0 every request was answered or refused with "
    "429, 1 some were not, or an answer was wrong (the report says which), 3 it cannot run. Ctrl-C ends the run; what was "
    "measured until then is shown and written."
)


def plan_of(url: str, given: Given) -> Plan:
    """Return the plan of a command line.

    Raises:
        BadSetting: something on it cannot be done.
    """
    own = Settings.load().server.api_key
    levels = [*map(Level.of_users, given["users"] or ()), *map(Level.of_rate, given["rate"] or ())]
    servers = targets(
        [url, *(given["contender"] or ())],
        dialect=given["dialect"] or (),
        model=given["model"] or (),
        api_key=given["api_key"] or (),
        own_key=own[0].get_secret_value() if own else None,
    )
    fields = {flag.field: given[flag.name] for flag in FLAGS if flag.field}
    return Plan(targets=servers, levels=list(dict.fromkeys(levels)) or list(map(Level.of_users, DEFAULT_USERS)), **fields)


def outputs_of(given: Given) -> Outputs:
    """Return the files that a command line asks for.

    Raises:
        BadSetting: two pictures, or two pages.
    """
    return Outputs.drawing(given["plot"] or (), json=given["json"], markdown=given["markdown"])
