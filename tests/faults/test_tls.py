"""HTTPS from a certificate and its key; what does not fit is one sentence before anything is loaded."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from shortlist.errors import BadSetting
from shortlist.server import _url, check_tls
from tests.support.apps import settings
from tests.support.certificates import Certificate, make
from tests.support.process import start, wait_until

ASK = {"query": "red fox", "documents": ["a cat", "the red fox"]}


def check(cert: Path, key: Path) -> None:
    check_tls(settings(tls_cert=cert, tls_key=key).server)


@pytest.fixture
def pair(tmp_path: Path) -> Certificate:
    return make(tmp_path)


def test_server_serves_https_and_logs_the_url(pair: Certificate) -> None:
    arguments = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    with start("tests.support.fakeserver", *arguments) as server:
        wait_until(lambda: server.process.poll() is not None or "/docs" in server.log(), 60)
        url = server.url.replace("http://", "https://")
        assert f"on {url}" in server.log()
        assert f"{url}/docs" in server.log()
        trust = ssl.create_default_context(cafile=str(pair.cert))
        with httpx2.Client(verify=trust, trust_env=False) as client:
            assert client.post(f"{url}/v1/rerank", json=ASK).status_code == httpx2.codes.OK
        with pytest.raises(httpx2.ConnectError), httpx2.Client(trust_env=False) as stranger:
            stranger.get(f"{url}/health")
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{server.url}/health", trust_env=False)
        with httpx2.Client(verify=trust, trust_env=False) as client:
            assert client.get(f"{url}/health").status_code == httpx2.codes.OK
        assert "Traceback" not in server.log()
        assert "raised at" not in server.log()


def test_pair_that_fits_is_taken(pair: Certificate) -> None:
    check(pair.cert, pair.key)


def test_without_a_pair_there_is_nothing_to_check() -> None:
    check_tls(settings().server)


def test_key_of_another_certificate_is_refused(pair: Certificate, tmp_path: Path) -> None:
    other = make(tmp_path, "other")
    with pytest.raises(BadSetting, match="do not match") as refusal:
        check(pair.cert, other.key)
    assert str(pair.cert) in refusal.value.message
    assert str(other.key) in refusal.value.message


def test_encrypted_key_is_refused_without_a_password_prompt(tmp_path: Path) -> None:
    pair = make(tmp_path, password=b"secret")
    with pytest.raises(BadSetting, match="not encrypted"):
        check(pair.cert, pair.key)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\0" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("which", ["cert", "key"])
def test_file_that_is_not_pem_is_refused(pair: Certificate, which: str, content: bytes) -> None:
    getattr(pair, which).write_bytes(content)
    with pytest.raises(BadSetting, match="PEM"):
        check(pair.cert, pair.key)


@pytest.mark.parametrize("which", ["cert", "key"])
def test_missing_file_is_named_by_its_flag(pair: Certificate, which: str) -> None:
    getattr(pair, which).unlink()
    with pytest.raises(BadSetting, match=rf"--tls-{which}\) cannot be read: No such file"):
        check(pair.cert, pair.key)


def test_swapped_files_are_refused(pair: Certificate) -> None:
    with pytest.raises(BadSetting, match="do not match"):
        check(pair.key, pair.cert)


def test_tls_error_is_one_line_before_models_load(pair: Certificate, tmp_path: Path) -> None:
    arguments = ["serve", "./nowhere", "--tls-cert", str(pair.cert), "--tls-key", str(tmp_path / "nowhere.key"), "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "shortlist", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "--tls-key" in line


def test_key_file_that_is_wrong_is_one_line_before_anything_is_loaded(tmp_path: Path) -> None:
    arguments = ["serve", "./nowhere", "--api-key-file", str(tmp_path / "nowhere"), "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "shortlist", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    [line] = done.stderr.strip().splitlines()
    assert "--api-key-file" in line


@pytest.mark.parametrize(("is_tls", "url"), [(True, "https://[::1]:8080"), (False, "http://[::1]:8080")])
def test_shown_address_has_scheme_host_and_port(is_tls: bool, url: str) -> None:
    assert _url("::1", 8080, is_tls=is_tls) == url
