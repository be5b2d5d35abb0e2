"""The code and its documentation use the field's words; the private ones of before do not return."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src/shortlist"

WORDS: Final = (
    *("Speller", "Spelled", "TokenHead", "TextHead", "Flights", "neutralised", "unframed", "Errand", "keeper", "Wishes"),
    *("furniture", "takeaway", "front desk", "machine room", "the house", "room", "rooms"),
    *("whoever", "somebody", "everybody", "nobody", "anew", "for ever"),
)
ALTERNATIVES: Final = "|".join(WORDS).replace(" ", r"\s+")
PATTERN: Final = re.compile(rf"(?<![\w-])(?:{ALTERNATIVES})(?![\w-])", re.IGNORECASE)

TEXTS: Final = frozenset({".py", ".md", ".c", ".h", ".css", ".js", ".toml", ".yml", ".yaml", ".sh", ""})
"""Files that people write; not what tools record (`tests/goldens/recorded`) or what other people's programs send."""

CLASSES: Final = frozenset(
    {
        *("Cuts", "Overflow", "Reading", "Framing", "Terms", "Stack", "Promise", "Seen", "Shape", "Stamp", "Fault"),
        *("Access", "Intake", "Paths", "Tasks", "Place", "Wishes", "Counted", "Elsewhere", "Divided", "Watched"),
        *("Errand", "Order", "Fleet", "Meter", "Forms", "Ways", "Extent", "Scratch", "Evidence", "Verdict", "Pauses"),
        *("Patience", "Visitor", "Words", "Ceiling", "Trial", "Diagnosis", "Journal", "Sheet", "Asker"),
    }
)
FUNCTIONS: Final = frozenset(
    {
        *("spell", "spell_windows", "frame_ids", "num_neutralised", "lead", "names_of", "on_terms", "on_mount", "there"),
        *("beside", "parts_of", "place_queries", "place_keys", "pick_forms", "refuse_if_far", "extent", "let_go"),
        *("lost_contact", "read_fault", "revive", "examine", "diagnose", "chips", "takeaway", "stack_of", "stack_for"),
    }
)
MODULES: Final = frozenset(
    {
        *("speller", "flights", "packing", "superset", "terms", "access", "intake", "paths", "tasks", "cards", "stack"),
        *("keeper", "fleet", "complaint", "guard", "forms", "gate", "range", "trial", "evidence", "screening", "collector"),
        *("revival", "local", "pairs", "samples", "diagnosis", "faults", "asker", "ending", "lines", "ranked", "journal"),
        *("furniture", "takeaway", "visitor", "meters", "sentences", "words", "own", "order", "field", "cells", "many"),
        *("alone", "sheet", "contender", "wire"),
    }
)
MODULES_THAT_ARE_MEANT: Final = frozenset({"types/tasks", "bench/samples"})
"""Samples of a load test are what the field calls them; `types/tasks` holds the task values."""


def written() -> Iterator[Path]:
    """Yield the files that people write, but this one."""
    for folder in ("src", "tests", "docs", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            is_text = path.is_file() and path.suffix in TEXTS and "recorded" not in path.parts
            is_made = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
            if is_text and not is_made and path != Path(__file__):
                yield path
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "pyproject.toml"))


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).with_suffix("").as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def definitions(kind: type[ast.ClassDef] | tuple[type[ast.AST], ...]) -> dict[str, list[str]]:
    """Return where classes or functions are defined, by name."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                found[node.name].append(module)  # type: ignore[attr-defined]
    return found


def hits(text: str) -> list[str]:
    return [f"{text.count(chr(10), 0, match.start()) + 1}: {match.group(0)}" for match in PATTERN.finditer(text)]


def test_no_private_word_is_left() -> None:
    found = {str(path.relative_to(ROOT)): each for path in written() if (each := hits(path.read_text(encoding="utf-8")))}
    assert found == {}


def test_a_private_word_would_be_found() -> None:
    assert hits("a\nthe Speller, for\n  ever") == ["2: Speller", "2: for\n  ever"]
    assert hits("headroom, classroom, spellers, everybody's") == ["1: everybody"]


@pytest.mark.parametrize(
    ("kind", "banned"),
    [((ast.ClassDef,), CLASSES), ((ast.FunctionDef, ast.AsyncFunctionDef), FUNCTIONS)],
    ids=["classes", "functions"],
)
def test_no_symbol_of_before_is_left(kind: tuple[type[ast.AST], ...], banned: frozenset[str]) -> None:
    assert {name: places for name, places in definitions(kind).items() if name in banned} == {}


def test_no_module_of_before_is_left() -> None:
    found = {module for module, _ in modules() if module.rsplit("/", 1)[-1] in MODULES}
    assert found - MODULES_THAT_ARE_MEANT == set()


def test_no_class_is_defined_in_two_packages() -> None:
    def package(module: str) -> str:
        return module.rpartition("/")[0]

    public = {name: places for name, places in definitions(ast.ClassDef).items() if not name.startswith("_")}
    assert {name: places for name, places in public.items() if len(set(map(package, places))) > 1 or len(places) > 1} == {}


def test_modules_of_one_name_do_the_same_for_different_packages() -> None:
    """`service/rerank`, `cli/rerank` and `ui/tabs/rerank` are one operation; two `wire` or `engine` would be a riddle.

    Engines and model families have the same parts: an interface (`base`), a registry, and sentence-transformers.
    """
    allowed = {"__init__", "__main__", "rerank", "embed", "explain", "errors", "target", "base", "registry", "sentence"}
    names = defaultdict(list)
    for module, _ in modules():
        names[module.rsplit("/", 1)[-1]].append(module)
    doubled = {name: places for name, places in names.items() if len(places) > 1}
    assert {name for name in doubled if name not in allowed} == set(), doubled
    assert all(one != other for places in doubled.values() for one, other in combinations(places, 2))
