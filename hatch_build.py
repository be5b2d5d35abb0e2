"""Builds the CPU kernels when the package is installed, if there is a C compiler.

The kernels only affect speed, so a failed build does not stop an installation: a one-line warning names the reason.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/shortlist/engine/native/cpu")
SOURCE = FOLDER / "kernels.c"
LIBRARY = FOLDER / "libkernels.so"
FLAGS = (
    *("-std=gnu11", "-O3", "-Wall", "-Wextra", "-march=x86-64-v4", "-mavx512bf16", "-mavx512vnni"),
    *("-fopenmp", "-fPIC", "-shared"),
)
"""The CPU is checked when the library is loaded; `tiles.h` states its other requirements. OpenMP is the one that torch has
loaded by then."""


class KernelsHook(BuildHookInterface[Any]):
    """Compiles `kernels.c` in its folder, and adds the library to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile for wheels only; a source distribution has the source."""
        del version
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        problem = _compile(root / SOURCE, root / LIBRARY)
        if problem:
            (root / LIBRARY).unlink(missing_ok=True)
            self.app.display_warning(f"Shortlist is installed without its compiled CPU kernels: {problem}.")
            return
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def _compile(source: Path, library: Path) -> str:
    """Return the reason of a failed build, or an empty string."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"they require Linux on x86_64, and this is {platform.system()} on {platform.machine()}"
    compiler = shlex.split(os.environ.get("CC", "")) or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
    if not compiler:
        return "no C compiler was found (cc, gcc or clang; Debian and Ubuntu have it in the package gcc)"
    try:
        run = subprocess.run(  # noqa: S603 - the user's compiler
            [*compiler, *FLAGS, str(source), "-o", str(library), "-lm"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        return f"{compiler[0]} cannot be run ({error.strerror})"
    return f"{compiler[0]} failed:\n{run.stderr.strip()}" if run.returncode else ""
