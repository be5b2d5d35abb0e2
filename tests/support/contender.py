"""A contender without a model, which behaves as a test tells it to: `python contender.py [FLAGS] FOLDER`.

Its scores follow from the length of each document, so that several of them agree.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.engines.process import Spec


PATH = str(Path(__file__).resolve())


def spec(name: str, *flags: str) -> Spec:
    """Return a contender of this name that behaves like this."""
    from benchmarks.engines.process import Spec  # not above: a contender runs with this folder alone on its path

    return Spec(name, (sys.executable, PATH, *flags))


def log_odds(document: str) -> float:
    return len(document) % 13 / 3 - 2


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--threads", default="")
    parser.add_argument("--device", default="")
    parser.add_argument("--max-model-len", default="")
    parser.add_argument("--shift", type=float, default=0.0, help="added to every log-odds")
    parser.add_argument("--start", choices=["well", "error", "mute", "dead", "prose", "odd"], default="well")
    parser.add_argument("--answer", default="well", help="what it does when it is asked")
    parser.add_argument("--well", type=int, default=0, help="questions that it answers well before it does that")
    parser.add_argument("--at-once", type=int, default=None, help="say that it likes so many requests under way")
    parser.add_argument("--child", action="store_true", help="start a process that stays")
    parser.add_argument("--journal", type=Path, help="write a line for every question")
    parser.add_argument("--takes", type=Path, help="make this file longer: by 100 bytes, and 10 for every question")
    asked = parser.parse_args()
    if asked.child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    take(asked.takes, 100)
    words = (asked.folder, asked.threads, asked.device, asked.max_model_len)
    start(asked.start, " ".join(word for word in words if word), {} if asked.at_once is None else {"at_once": asked.at_once})
    for number, line in enumerate(sys.stdin):
        question = json.loads(line)
        if asked.journal:
            with asked.journal.open("a") as journal:
                journal.write(json.dumps([asked.shift, question["query"]]) + "\n")
        take(asked.takes, 10)
        said = answer("well" if number < asked.well else asked.answer, question["documents"], asked.shift)
        if said is not None:
            notify(said)
    return 0


def take(file: Path | None, num_bytes: int) -> None:
    if file:
        with file.open("a") as taken:
            taken.write("x" * num_bytes)


def start(how: str, words: str, more: dict[str, int]) -> None:
    if how == "error":
        notify({"error": "no such processor"})
        sys.exit(1)
    if how == "mute":
        time.sleep(600)
    if how == "dead":
        print("loading\nSegmentation fault of sorts", file=sys.stderr)
        os._exit(7)
    if how == "prose":
        print("Loading model ...", flush=True)
    notify({"ready": how != "odd", "name": "fake", "version": f"fake 1.0 {words}".strip(), "dtype": "float64", **more})


def answer(how: str, documents: Sequence[str], shift: float) -> object:
    scores: list[float | None] = [1 / (1 + math.exp(-log_odds(document) - shift)) for document in documents]
    if how == "mute":
        time.sleep(600)
    if how == "dead":
        print("out of memory", file=sys.stderr)
        os._exit(9)
    if how == "dribbles":
        text = json.dumps({"scores": scores}) + "\n"
        for start in range(0, len(text), 7):
            os.write(1, text[start : start + 7].encode())
            time.sleep(0.001)
        return None
    if how == "garbage":
        os.write(1, b"\xff\xfe\x00\n")
    if how == "closes":
        os.close(1)
        time.sleep(600)
    if how == "twice":
        notify({"scores": scores})
    odd = {"error": {"error": "too long"}, "short": {"scores": scores[1:]}, "nan": {"scores": [None, *scores[1:]]}}
    odd |= {"logits": {"scores": [3.5, *scores[1:]]}, "words": {"scores": "high"}, "list": {"scores": scores, "error": "no"}}
    return odd.get(how, {"scores": scores})


def notify(message: object) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
