"""What each client sends, and what its reader needs, as data: one file of `consumers` for each.

A fixture is a consumer with exchanges; an exchange is a request, and what the answer must have for that consumer to read it:

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
from pathlib import Path
from typing import Any, Final

FIXTURES: Final = Path(__file__).with_name("consumers")
ABSENT: Final = object()

Json = Mapping[str, Any]


def consumers() -> Mapping[str, Json]:
    """Return every fixture by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FIXTURES.glob("*.json"))}


def complaints(requires: Json, status: int, content: bytes) -> list[str]:
    """Return what a consumer cannot read in this answer; nothing, if it can."""
    wanted = requires.get("status", 200)
    if status not in (wanted if isinstance(wanted, list) else [wanted]):
        return [f"status {status} instead of {wanted}: {content[:300]!r}"]
    if not requires.keys() - {"status"}:
        return []
    body = json.loads(content)
    return [*_of_body(requires, body), *_of_items(requires, body, content)]


def _of_body(requires: Json, body: object) -> Iterator[str]:
    for place, form in requires.get("body", {}).items():
        yield from _form(place, at(body, place), form)
    for place, value in requires.get("values", {}).items():
        if at(body, place) != value:
            yield f"{place} is {at(body, place)!r} instead of {value!r}"
    for place, names in requires.get("first_key", {}).items():
        first = next(iter(at(body, place)), None)
        if first not in names:
            yield f"{place} begins with {first!r} instead of one of {names}"
    if requires.get("is_object") and not isinstance(body, dict):
        yield "it is no object"


def _of_items(requires: Json, body: object, content: bytes) -> Iterator[str]:
    if requires.get("items") is None:
        return
    items = at(body, requires["items"])
    if not isinstance(items, list) or len(items) != requires.get("count", len(items)):
        yield f"{requires['items'] or 'the answer'} is not a list of {requires.get('count')}: {items!r}"
        return
    for item in items:
        yield from _of_item(requires, item)
    yield from _of_order(requires, items)
    for field in requires.get("written_as_floats", ()):
        written = re.findall(rb'"%b":\s*([^,}\]\s]+)' % field.encode(), content)
        if len(written) != len(items) or not all(re.search(rb"[.eE]", number) for number in written):
            yield f"{field} is not always written as a float: {written!r}"


def _of_item(requires: Json, item: object) -> Iterator[str]:
    each = requires.get("each", {})
    if isinstance(each, str):
        yield from _form("an item", item, each)
        return
    for place, form in each.items():
        yield from _form(place, at(item, place), form)
    for place, keys in {"": requires.get("only"), **requires.get("only_in", {})}.items():
        found = at(item, place)
        if keys and found is not ABSENT and not set(found) <= set(keys):
            yield f"{place or 'an item'} has {sorted(set(found) - set(keys))}, and its reader refuses that"
    if isinstance(item, dict) and item.get("document", "") is None:
        yield "document is null, which nobody reads"


def _of_order(requires: Json, items: Sequence[Any]) -> Iterator[str]:
    indices = [at(item, "index") for item in items]
    if "first" in requires and indices[:1] != [requires["first"]]:
        yield f"{indices} do not begin with {requires['first']}"
    if requires.get("all_positions") and sorted(indices) != list(range(len(items))):
        yield f"{indices} are not all positions"
    if field := requires.get("descending"):
        scores = [at(item, field) for item in items]
        if all(map(_is_number, scores)) and scores != sorted(scores, reverse=True):
            yield f"{field} does not descend: {scores}"
    if best := requires.get("best"):
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
        yield f"{place} is no {name}: {value!r}"
    elif length and len(value) != int(length):  # type: ignore[arg-type]
        yield f"{place} has not {length} numbers"


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_number(value: object) -> bool:
    return _is_int(value) or _is_float(value)


def _is_base64(value: object) -> bool:
    return isinstance(value, str) and bool(value) and len(base64.b64decode(value, validate=True)) % 4 == 0


FORMS: Final[Mapping[str, Callable[[object], bool]]] = {
    "int": _is_int,
    "float": _is_float,
    "number": _is_number,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "floats": lambda value: isinstance(value, list) and bool(value) and all(map(_is_float, value)),
    "base64": _is_base64,
}
