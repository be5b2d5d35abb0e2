"""Reads the table of clients (`clients.yaml`), and reads an answer as one of these clients reads it.

What an answer needs, so that a client can read it:

- `status`: one, or several that will do; 200 if not given.
- `items`: where the list of results is (`output.results`; empty: the answer is the list), and of it
  - `each`: what every item needs: field and form, or one form if items are not objects,
  - `only`, `only_in`: the keys it may have, because its reader refuses others,
  - `count`, `first` (the index that leads), `descending` (by this field), `all_positions` (every index is there, once),
  - `best`: the item with the greatest field stands at this place; for answers in the order of the request,
  - `written_as_floats`: these fields have a point or an exponent in the very bytes.
- `body`: what the answer needs beside it; `values`: what exactly; `first_key`: how an object must begin; `is_object`.
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
    """Return every client by its name: whose it is, its quirk, and its checks with all that the table says of them."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {
        name: {**client, "checks": [_check(table, {"key": client.get("key"), **check}) for check in client["checks"]]}
        for name, client in table["clients"].items()
    }


def problems(needs: Json, status: int, content: bytes) -> list[str]:
    """Return what a client cannot read in this answer; nothing, if it can."""
    wanted = needs.get("status", 200)
    if status not in (wanted if isinstance(wanted, list) else [wanted]):
        return [f"status {status} instead of {wanted}: {content[:300]!r}"]
    if not needs.keys() - {"status"}:
        return []
    body = json.loads(content)
    return [*_of_body(needs, body), *_of_items(needs, body, content)]


def _check(table: Json, check: Json) -> Json:
    check = _merged({"method": "POST", "task": "rerank", "needs": {}, **table["requests"][check["send"]]}, check)
    return {**check, "needs": _merged(table["answers"][check["read"]], check["needs"])}


def _merged(base: Json, changes: Json) -> Json:
    """Return a mapping with changes; what is a mapping in both is merged in the same way."""
    both = {name for name, value in changes.items() if isinstance(value, dict) and isinstance(base.get(name), dict)}
    return {**base, **changes, **{name: _merged(base[name], changes[name]) for name in both}}


def _of_body(needs: Json, body: object) -> Iterator[str]:
    for place, form in needs.get("body", {}).items():
        yield from _form(place, at(body, place), form)
    for place, value in needs.get("values", {}).items():
        if at(body, place) != value:
            yield f"{place} is {at(body, place)!r} instead of {value!r}"
    for place, names in needs.get("first_key", {}).items():
        first = next(iter(at(body, place)), None)
        if first not in names:
            yield f"{place} begins with {first!r} instead of one of {names}"
    if needs.get("is_object") and not isinstance(body, dict):
        yield "it is no object"


def _of_items(needs: Json, body: object, content: bytes) -> Iterator[str]:
    if needs.get("items") is None:
        return
    items = at(body, needs["items"])
    if not isinstance(items, list) or len(items) != needs.get("count", len(items)):
        yield f"{needs['items'] or 'the answer'} is not a list of {needs.get('count')}: {items!r}"
        return
    for item in items:
        yield from _of_item(needs, item)
    yield from _of_order(needs, items)
    for field in needs.get("written_as_floats", ()):
        written = re.findall(rb'"%b":\s*([^,}\]\s]+)' % field.encode(), content)
        if len(written) != len(items) or not all(re.search(rb"[.eE]", number) for number in written):
            yield f"{field} is not always written as a float: {written!r}"


def _of_item(needs: Json, item: object) -> Iterator[str]:
    each = needs.get("each", {})
    for place, form in (each if isinstance(each, dict) else {"": each}).items():
        yield from _form(place, at(item, place), form)
    for place, keys in {"": needs.get("only"), **needs.get("only_in", {})}.items():
        found = at(item, place)
        if keys and found is not ABSENT and not set(found) <= set(keys):
            yield f"{place or 'an item'} has {sorted(set(found) - set(keys))}, and its reader refuses that"
    if isinstance(item, dict) and item.get("document", "") is None:
        yield "document is null, which clients cannot parse"


def _of_order(needs: Json, items: Sequence[Any]) -> Iterator[str]:
    indices = [at(item, "index") for item in items]
    if "first" in needs and indices[:1] != [needs["first"]]:
        yield f"{indices} do not begin with {needs['first']}"
    if needs.get("all_positions") and sorted(indices) != list(range(len(items))):
        yield f"{indices} are not all positions"
    if field := needs.get("descending"):
        scores = [at(item, field) for item in items]
        if all(map(_is_number, scores)) and scores != sorted(scores, reverse=True):
            yield f"{field} does not descend: {scores}"
    if best := needs.get("best"):
        field, place = best
        scores = [at(item, field or "") for item in items]
        if not all(map(_is_number, scores)):
            yield f"not every {field or 'item'} is a number: there is no greatest"
        elif scores.index(max(scores)) != place or scores.count(max(scores)) != 1:
            yield f"the greatest is not number {place}: {scores}"


def at(value: object, place: str) -> Any:
    """Return what is at a place such as `meta.tokens`; the value itself for an empty one; ABSENT if there is nothing."""
    for name in place.split(".") if place else ():
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value


def _form(place: str, value: object, form: str) -> Iterator[str]:
    name, _, length = form.partition(":")
    if value is ABSENT:
        yield f"{place} is missing"
    elif not FORMS[name](value):
        yield f"{place or 'an item'} is no {name}: {value!r}"
    elif length and len(value) != int(length):  # type: ignore[arg-type]
        yield f"{place or 'an item'} has not {length} numbers"


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
