"""The forms of vectors in answers: numbers, bits, and bytes in base64."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from shortlist.errors import InvalidInput
from shortlist.schemas.embed import VectorField
from shortlist.types import Vector

Written = VectorField | list[int] | str
"""A vector in an answer."""


def in_base64(vector: Vector) -> str:
    """Return a vector as little-endian float32, the way OpenAI's and Cohere's clients read it."""
    return _base64(vector.astype("<f4").tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _packed(vector: Vector) -> bytes:
    """Return one bit per dimension, the first one highest, eight to a byte: whether the number is above 0."""
    return np.packbits(vector > 0).tobytes()


def _unsigned(vector: Vector) -> list[int]:
    return list(_packed(vector))


def _signed(vector: Vector) -> list[int]:
    return [byte - 128 for byte in _packed(vector)]


FORMS: Final[Mapping[str, Callable[[Vector], Written]]] = {
    "float": lambda vector: vector,  # an array is written as a list of numbers
    "base64": in_base64,
    "ubinary": _unsigned,
    "binary": _signed,
}
"""How a vector can be written. `int8` and `uint8` need a model that was calibrated for them.

Sources: docs.cohere.com, Embed; docs.voyageai.com, flexible dimensions and quantization: `binary` is offset by 128.
"""


def check_forms(field: str, forms: Sequence[str]) -> None:
    """Check the names of forms.

    Raises:
        InvalidInput: one is not known.
    """
    for index, form in enumerate(forms):
        if form not in FORMS:
            param = f"{field}[{index}]"
            raise InvalidInput(f"{param} must be one of {', '.join(FORMS)}.", param=param)


def writer(dtype: str, encoding: str) -> Callable[[Vector], Written]:
    """Return the function that writes vectors of a data type, as numbers (`float`) or as bytes in `base64`."""
    if encoding != "base64" or dtype == "base64":
        return FORMS[dtype]
    if dtype == "float":
        return in_base64
    dtype_of_bytes = np.int8 if dtype == "binary" else np.uint8
    return lambda vector: _base64(np.asarray(FORMS[dtype](vector), dtype_of_bytes).tobytes())
