"""What holds for every test there is."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from functools import cache

import httpcore2
import pytest

from tests.support import examples  # noqa: F401 - registers the profile that --hypothesis-profile may name
from tests.support.lacking import not_tested

# Triton's kernels run in its interpreter, which needs no GPU; TRITON_INTERPRET=0 has the same tests run on one. Said here, since
# Triton looks when it is imported, which transformers does.
os.environ.setdefault("TRITON_INTERPRET", "1")  # noqa: TID251 - its only switch

# Torch's threads sleep while they wait for each other: several processes with as many threads as there are cores would spend most
# of their time looking again. Said here, since OpenMP looks when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # noqa: TID251 - its only switch


_read_certificates = httpcore2.default_ssl_context


@cache
def _certificates(trust_env: bool, *_variables: str | None) -> ssl.SSLContext:
    return _read_certificates(_trust_env=trust_env)


def _shared_certificates(*, _trust_env: bool = True) -> ssl.SSLContext:
    """Stand in for what every HTTP client does, encrypted or not: reading the certificates of all authorities takes 25 ms."""
    return _certificates(_trust_env, *map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))  # noqa: TID251 - the library's own


vars(httpcore2)["default_ssl_context"] = _shared_certificates


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say after everything else, where it is read, what was not tested here."""
    yield
    for line in not_tested(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(line, yellow=True)
