"""Loads the table of clients (`clients.yaml`) and checks an answer against the requirements of one client.

Requirements of an answer:

- `status`: the accepted status or statuses; default 200.
- `items`: path of the list of results (`output.results`; empty: the answer is the list), and of it
  - `each`: required fields of every item and their types, or one type if items are not objects,
  - `only`, `only_in`: the allowed keys, if the client rejects others,
  - `count`, `first` (the first index), `descending` (by this field), `all_positions` (every index exactly once),
  - `best`: position of the item with the greatest field; for answers in the order of the request,
  - `written_as_floats`: fields with a point or an exponent in the response bytes.
- `body`: required fields and types outside the list; `values`: exact values; `first_key`: first key of an object; `is_object`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

TABLE: Final = Path(__file__).with_name("clients.yaml")
ABSENT: Final = object()

Json = Mapping[str, Any]


@cache
def consumers() -> Mapping[str, Json]:
    """Return every client by name: its title, its quirk, and its checks with defaults applied."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {
        name: {**client, "checks": [_check(table, {"key": client.get("key"), **check}) for check in client["checks"]]}
        for name, client in table["clients"].items()
    }


def problems(needs: Json, status: int, content: bytes) -> list[str]:
    """Return what a client cannot parse in this answer; empty if it can."""
    expected = needs.get("status", 200)
    if status not in (expected if isinstance(expected, list) else [expected]):
        return [f"status {status} instead of {expected}: {content[:300]!r}"]
    if not needs.keys() - {"status"}:
        return []
    body = json.loads(content)
    return [*_body_problems(needs, body), *_items_problems(needs, body, content)]


def _check(table: Json, check: Json) -> Json:
    check = _merged({"method": "POST", "task": "rerank", "needs": {}, **table["requests"][check["send"]]}, check)
    return {**check, "needs": _merged(table["answers"][check["read"]], check["needs"])}


def _merged(base: Json, changes: Json) -> Json:
    """Return a mapping with changes applied; nested mappings are merged recursively."""
    both = {name for name, value in changes.items() if isinstance(value, dict) and isinstance(base.get(name), dict)}
    return {**base, **changes, **{name: _merged(base[name], changes[name]) for name in both}}


def _body_problems(needs: Json, body: object) -> Iterator[str]:
    for path, kind in needs.get("body", {}).items():
        yield from _check_type(path, at(body, path), kind)
    for path, value in needs.get("values", {}).items():
        if at(body, path) != value:
            yield f"{path} is {at(body, path)!r} instead of {value!r}"
    for path, names in needs.get("first_key", {}).items():
        first = next(iter(at(body, path)), None)
        if first not in names:
            yield f"{path} starts with {first!r} instead of one of {names}"
    if needs.get("is_object") and not isinstance(body, dict):
        yield "it is not an object"


def _items_problems(needs: Json, body: object, content: bytes) -> Iterator[str]:
    if needs.get("items") is None:
        return
    items = at(body, needs["items"])
    if not isinstance(items, list) or len(items) != needs.get("count", len(items)):
        yield f"{needs['items'] or 'the answer'} is not a list of {needs.get('count')}: {items!r}"
        return
    for item in items:
        yield from _item_problems(needs, item)
    yield from _order_problems(needs, items)
    for field in needs.get("written_as_floats", ()):
        written = re.findall(rb'"%b":\s*([^,}\]\s]+)' % field.encode(), content)
        if len(written) != len(items) or not all(re.search(rb"[.eE]", number) for number in written):
            yield f"{field} is not always written as a float: {written!r}"


def _item_problems(needs: Json, item: object) -> Iterator[str]:
    each = needs.get("each", {})
    for path, kind in (each if isinstance(each, dict) else {"": each}).items():
        yield from _check_type(path, at(item, path), kind)
    for path, keys in {"": needs.get("only"), **needs.get("only_in", {})}.items():
        found = at(item, path)
        if keys and found is not ABSENT and not set(found) <= set(keys):
            yield f"{path or 'an item'} has {sorted(set(found) - set(keys))}, which the client rejects"
    if isinstance(item, dict) and item.get("document", "") is None:
        yield "document is null, which clients cannot parse"


def _order_problems(needs: Json, items: Sequence[Any]) -> Iterator[str]:
    indices = [at(item, "index") for item in items]
    if "first" in needs and indices[:1] != [needs["first"]]:
        yield f"{indices} do not start with {needs['first']}"
    if needs.get("all_positions") and sorted(indices) != list(range(len(items))):
        yield f"{indices} are not every position exactly once"
    if field := needs.get("descending"):
        scores = [at(item, field) for item in items]
        if all(map(_is_number, scores)) and scores != sorted(scores, reverse=True):
            yield f"{field} is not descending: {scores}"
    if best := needs.get("best"):
        field, path = best
        scores = [at(item, field or "") for item in items]
        if not all(map(_is_number, scores)):
            yield f"not every {field or 'item'} is a number, so there is no greatest"
        elif scores.index(max(scores)) != path or scores.count(max(scores)) != 1:
            yield f"the greatest is not at position {path}, or not unique: {scores}"


def at(value: object, path: str) -> Any:
    """Return the value at a path such as `meta.tokens`; the value itself for an empty path; ABSENT if missing."""
    for name in path.split(".") if path else ():
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value


def _check_type(path: str, value: object, kind: str) -> Iterator[str]:
    name, _, length = kind.partition(":")
    if value is ABSENT:
        yield f"{path} is missing"
    elif not FORMS[name](value):
        yield f"{path or 'an item'} is not of type {name}: {value!r}"
    elif length and len(value) != int(length):  # type: ignore[arg-type]
        yield f"{path or 'an item'} does not have {length} numbers"


def _is_float(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_number(value: object) -> bool:
    return type(value) is int or _is_float(value)


FORMS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "int": lambda value: type(value) is int,
    "float": _is_float,
    "number": _is_number,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "floats": lambda value: isinstance(value, list) and bool(value) and all(map(_is_float, value)),
    "base64": lambda value: isinstance(value, str) and bool(value) and len(base64.b64decode(value, validate=True)) % 4 == 0,
}
