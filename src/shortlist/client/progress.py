"""A progress line on standard error for long work; off without a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Progress bar with the remaining time if the total is known. Use it in a `with`.

    Args:
        title: Label of the bar.
        total: Number of items; None if unknown.
        is_wanted: Whether to show the bar. It shows only if standard error is a terminal or a notebook.
    """

    def __init__(self, title: str, total: int | None, *, is_wanted: bool = True) -> None:
        self._progress = _new_progress(title, total) if is_wanted else None
        self.num_done = 0

    def advance(self, num_done: int = 1) -> None:
        """Add to the number of completed items."""
        self.num_done += num_done
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], num_done)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while other output is written to the terminal."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()


def total_of(items: object) -> int | None:
    """Return the number of items, or None if the length is unknown."""
    return len(items) if isinstance(items, Sized) else None


def _new_progress(title: str, total: int | None) -> Progress | None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        return None
    counted = (BarColumn(), MofNCompleteColumn()) if total is not None else (TextColumn("{task.completed}"),)
    times = (TimeElapsedColumn(), TimeRemainingColumn()) if total is not None else (TimeElapsedColumn(),)
    columns = (TextColumn("{task.description}", markup=False), *counted, *times)
    progress = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    progress.add_task(title, total=total)
    return progress
