"""Output files of a run, and the check before the run that they can be written."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shortlist.bench import markdown
from shortlist.errors import BadSetting
from shortlist.installation import install_hint


def can_draw() -> bool:
    """Return whether pictures can be drawn: matplotlib comes with the extra `bench`."""
    return importlib.util.find_spec("matplotlib") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Output paths; None for an output that is not written."""

    json: Path | None = None  # all measurements
    markdown: Path | None = None  # the tables, in a document; with #name, between the markers of that name
    plot: Path | None = None  # a picture, PNG
    page: Path | None = None  # the full report, HTML

    @classmethod
    def drawing(cls, drawn: Sequence[Path], *, json: Path | None = None, markdown: Path | None = None) -> Self:
        """Return the outputs with at most one picture and one page; the file suffix decides which.

        Raises:
            BadSetting: there are two of a kind.
        """
        pages = [path for path in drawn if path.suffix == ".html"]
        plots = [path for path in drawn if path.suffix != ".html"]
        if max(len(pages), len(plots)) > 1:
            raise BadSetting("--plot draws one picture (.png) and one page (.html), and not two of a kind.")
        return cls(json=json, markdown=markdown, plot=next(iter(plots), None), page=next(iter(pages), None))

    def check(self) -> None:
        """Check before the run that every output can be written.

        Raises:
            BadSetting: a folder is missing, a file has no place for the tables, or nothing here draws.
        """
        if self.plot is not None and self.plot.suffix != ".png":
            raise BadSetting(f"--plot draws a PNG; {self.plot.name} should end in .png.")
        if (self.plot or self.page) and not can_draw():
            raise BadSetting(f"--plot needs matplotlib, which is not installed: {install_hint('bench')}")
        for path in (self.json, self.markdown, self.plot, self.page):
            if path is not None and not path.parent.is_dir():
                raise BadSetting(f"There is no folder {path.parent} to write {path.name} into.")
        if self.markdown is not None:
            markdown.around(self.markdown)
