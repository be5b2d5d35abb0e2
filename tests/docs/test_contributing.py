"""CONTRIBUTING's table names files that exist, and all the files that a change really touches."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from shortlist.api.dialects import table
from shortlist.api.dialects.dialect import Dialect

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src/shortlist"
LINES: Final = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
TABLE: Final = [line for line in LINES[LINES.index("| To | change |") + 2 :] if line.startswith("| ")]
ROWS: Final = dict([cell.strip() for cell in line.strip("|").split("|")] for line in TABLE)
TOKENS: Final = [(to, token) for to, change in ROWS.items() for token in re.findall(r"`([^`]+)`", change)]


def found(token: str) -> list[Path]:
    """Return what a path names: a file, a module or a package; any of them, where it has a placeholder."""
    pattern = re.sub(r"<\w+>", "*", token.removesuffix("/"))
    return [path for base in (SOURCE, ROOT) for suffix in ("", ".py") for path in base.glob(pattern + suffix)]


def paths(row: str) -> list[str]:
    """Return the paths in a row, without placeholders."""
    return [token for to, token in TOKENS if to == row and " " not in token and found(token)]


def row(beginning: str) -> str:
    [name] = [to for to in ROWS if to.startswith(beginning)]
    return name


def named(*beginnings: str) -> set[Path]:
    """Return the files that rows name, those of packages included."""
    places = [place for each in beginnings for token in paths(row(each)) for place in found(token)]
    return {file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))}


def modules(*, outside: str | None = None) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the modules of the package, parsed."""
    for path in SOURCE.rglob("*.py"):
        if outside is None or not path.is_relative_to(SOURCE / outside):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def identifiers(module: ast.Module) -> set[str]:
    """Return the names in a module's code, without those in its texts."""
    return {
        str(getattr(node, field))
        for node in ast.walk(module)
        for field in ("id", "attr", "name")
        if isinstance(node, ast.Name | ast.Attribute | ast.alias | ast.ClassDef | ast.FunctionDef) and hasattr(node, field)
    }


def imports(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what a module imports from where."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize(("to", "token"), TOKENS)
def test_everything_that_a_row_names_exists(to: str, token: str) -> None:
    if " " in token:
        words = token.split()
        assert [word for word in words if "/" in word and not found(word)] == []
        assert [module for flag, module in pairwise(words) if flag == "-m" and not found(module.replace(".", "/"))] == []
    elif re.fullmatch(r"[A-Z_]+", token):
        beside = [importlib.import_module(f"shortlist.{path.replace('/', '.')}") for path in paths(to) if "<" not in path]
        assert any(hasattr(module, token) for module in beside), f"no module of this row has {token}"
    else:
        assert found(token), f"there is no {token}"


def test_table_has_not_lost_its_rows() -> None:
    assert len(ROWS) >= 30
    assert all(paths(to) or "`python -m " in change for to, change in ROWS.items())


@pytest.mark.parametrize("to", [to for to in ROWS if re.search(r": \d+ files (today|more)$", to)])
def test_rows_that_count_files_name_as_many(to: str) -> None:
    [count] = re.findall(r": (\d+) files", to)
    assert len(set(paths(to))) == len(paths(to)) == int(count)


def test_every_dialect_is_one_file_and_a_line_of_the_table() -> None:
    own = {path.stem for path in (SOURCE / "api/dialects").glob("*.py")}
    with_dialects = {
        name
        for name in own
        if isinstance(getattr(importlib.import_module(f"shortlist.api.dialects.{name}"), "DIALECT", None), Dialect)
    }
    assert len(with_dialects) == len(table.DIALECTS) > 10
    assert {"api/dialects/<one>", "api/dialects/table"} <= set(paths(row("add a dialect")))


def test_engines_are_named_by_model_families_and_registries_alone() -> None:
    engine = re.compile(r"shortlist\.engine\.(native|sentence|vllm|workers)\b")
    touched = {
        path.relative_to(SOURCE).as_posix()
        for path, module in modules(outside="engine")
        if any(engine.match(source) for source, _ in imports(module))
    }
    assert touched <= {"models/qwen3/family.py", "models/sentence.py", "service/vllm_deployment.py"}


def test_families_are_named_by_models_and_the_native_engine_alone() -> None:
    touched = {path for path, module in modules() if any("qwen" in name.lower() for name in identifiers(module))}
    assert all(path.is_relative_to(SOURCE / "models") or path.is_relative_to(SOURCE / "engine/native") for path in touched)


def test_nothing_decides_between_two_operations() -> None:
    """A choice such as `x if operation is RERANK else y` would send a third operation to the wrong place."""
    choices = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.IfExp)
        and {"RERANK", "EMBED"} & {each.id for each in ast.walk(node.test) if isinstance(each, ast.Name)}
    ]
    assert [choice for choice in choices if not choice.startswith(("models/", "api/model_info"))] == []
