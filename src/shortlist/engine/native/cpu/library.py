"""Loads the compiled kernels, if this installation has them and the CPU supports them.

They are built at installation where there is a C compiler (`hatch_build.py`); elsewhere torch does the same work, slower.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

LIBRARY: Final = Path(__file__).with_name("libkernels.so")
NEEDS: Final = ("avx512_f", "avx512_bw", "avx512_vl", "avx512_dq", "avx512_bf16", "avx512_vnni")
"""Required CPU features, by torch's names."""

TILES_NEED: Final = ("amx_tile", "amx_bf16", "amx_int8")
"""Additional CPU features for the matrix unit."""

_FUNCTIONS: Final = {
    "rms_norm": "pppiifn",
    "place_queries": "pippppiiiffn",
    "place_keys": "ppippppppiiifn",
    "attend": "pppppppiiiiibn",
    "pack_int8": "ppppiiiin",
    "quantize": "pppiin",
    "linear_int8": "pppppppiiibbn",
    "pack_tiles": "pppiin",
    "linear_tiles": "ppppiiibn",
}
"""Argument types: p pointer, i 64-bit integer, f float, b flag, n number of threads."""

_TYPES: Final[dict[str, Any]] = {
    "p": ctypes.c_void_p,
    "i": ctypes.c_int64,
    "f": ctypes.c_float,
    "b": ctypes.c_int,
    "n": ctypes.c_int,
}

_VERSION: Final = 4
"""Version of the functions and their arguments; must equal `kernels_version`."""

logger = logging.getLogger(__name__)


class Kernels:
    """Calls the library's functions on torch tensors, with as many threads as torch uses.

    Args:
        library: The loaded library.
        has_tiles: Whether to use the CPU's matrix unit. Off, the results are those of a CPU without one.
    """

    def __init__(self, library: ctypes.CDLL, *, has_tiles: bool) -> None:
        self.has_tiles = has_tiles
        self._library = library
        self._functions = {name: library[name] for name in _FUNCTIONS}
        for name, kinds in _FUNCTIONS.items():
            self._functions[name].argtypes = [_TYPES[kind] for kind in kinds]
            self._functions[name].restype = None

    @property
    def name(self) -> str:
        """The implementation's name in the fingerprint: tiles sum in another order."""
        return "tiles" if self.has_tiles else "kernels"

    def without_tiles(self) -> Kernels:
        """Return the same functions without the matrix unit."""
        return Kernels(self._library, has_tiles=False)

    def call(self, name: str, *arguments: Tensor | float | None) -> None:
        """Call a function; tensors are passed by their data pointer."""
        values = (each.data_ptr() if isinstance(each, Tensor) else each for each in arguments)
        self._functions[name](*values, torch.get_num_threads())


@cache
def kernels() -> Kernels | None:
    """Return the kernels, or None where they were not built or cannot run; logs which."""
    features = torch.cpu.get_capabilities()
    missing = [need for need in NEEDS if not features.get(need, False)]
    if missing:
        logger.info("compiled CPU kernels are off: the CPU lacks %s", ", ".join(missing))
        return None
    library = _library()
    if library is None:
        logger.warning("compiled CPU kernels are not installed; for more speed, reinstall Shortlist with a C compiler present")
        return None
    return Kernels(library, has_tiles=_has_tiles(library, features))


def _has_tiles(library: ctypes.CDLL, features: Mapping[str, object]) -> bool:
    """Return whether CPU, library and system support the matrix unit; logs what is missing."""
    missing = [need for need in TILES_NEED if not features.get(need, False)]
    if missing:
        reason = f"the CPU lacks {', '.join(missing)}"
    elif not library.may_use_tiles():
        reason = "the compiler did not support them, or the system does not allow this process to use them"
    else:
        return True
    logger.info("compiled CPU kernels run without AMX tiles: %s", reason)
    return False


def _library() -> ctypes.CDLL | None:
    """Return the library, or None if it is missing, broken or of another version."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        return library if library.kernels_version() == _VERSION else None
    except (OSError, AttributeError):
        return None
