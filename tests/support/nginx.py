"""A real nginx with the configuration of deploy/nginx, on free ports and with a certificate made on the spot."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import httpx2

from tests.support.certificates import make
from tests.support.process import wait_until
from tests.support.serving import free_port

CONFIGURATION: Final = Path("deploy/nginx/shortlist.conf")
START_S: Final = 20.0
WAIT_S: Final = 60.0

PREFIX: Final = "/deep/prefix"

KEPT: Final = {"location / {": f"location {PREFIX}/ {{", "location /ui {": f"location {PREFIX}/ui {{"}
"""Changes for a path prefix that nginx leaves on paths."""

REMOVED: Final = KEPT | {
    "proxy_pass http://shortlist;": "proxy_pass http://shortlist/;",
    "proxy_pass http://shortlist_page;": "proxy_pass http://shortlist_page/ui;",
}
"""Changes for a path prefix that nginx removes from paths."""

MAIN: Final = """{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/unused; uwsgi_temp_path {folder}/unused; scgi_temp_path {folder}/unused;
    include {folder}/shortlist.conf;
}}
"""


def missing_nginx() -> str | None:
    """Return why there is no nginx to test with, or None if there is one."""
    return None if find_nginx() else "nginx is not installed"


def find_nginx() -> str | None:
    """Return the program, which Debian keeps where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@dataclass(frozen=True)
class Nginx:
    """One that runs."""

    folder: Path
    url: str
    http_url: str
    trust: ssl.SSLContext

    def client(self, address: str = "127.0.0.1") -> httpx2.Client:
        """Return a client that trusts the certificate, and has this address of the loopback network."""
        transport = httpx2.HTTPTransport(verify=self.trust, local_address=address)
        return httpx2.Client(base_url=self.url, transport=transport, timeout=WAIT_S)

    @contextlib.contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        """Connect to HTTPS; httpx2 would change some paths, and hangs up later."""
        address = ("127.0.0.1", urlsplit(self.url).port or 0)
        with (
            socket.create_connection(address, timeout=WAIT_S) as plain,
            self.trust.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
        ):
            yield wire

    def reloaded(self) -> Self:
        """Reload nginx with a new certificate. Return it for clients that trust this one, once the old processes take no connection."""
        before = self._num_ending()
        make(self.folder)
        os.kill(int((self.folder / "nginx.pid").read_text(encoding="ascii")), signal.SIGHUP)
        renewed = replace(self, trust=_trust(self.folder))
        wait_until(lambda: self._num_ending() > before and renewed.is_trusted(), START_S)
        return renewed

    def is_trusted(self) -> bool:
        """Return whether a new connection gets the certificate."""
        with contextlib.suppress(OSError), self.connected():
            return True
        return False

    def _num_ending(self) -> int:
        return (self.folder / "error.log").read_text(encoding="utf-8").count("gracefully shutting down")


def configured(folder: Path, ports: Sequence[int], changes: Mapping[str, str]) -> tuple[int, int]:
    """Write the configuration for servers at these ports, with changes; return the ports of HTTP and HTTPS."""
    http, https = free_port(), free_port()
    certificate = make(folder)
    text = CONFIGURATION.read_text(encoding="utf-8")
    local = {
        "    listen 80;\n    listen [::]:80;": f"    listen 127.0.0.1:{http};",
        "listen 443 ssl": f"listen 127.0.0.1:{https} ssl",
        "    listen [::]:443 ssl http2;\n": "",
        "/etc/nginx/tls/shortlist.crt": str(certificate.cert),
        "/etc/nginx/tls/shortlist.key": str(certificate.key),
        "127.0.0.1:8081": f"127.0.0.1:{ports[0]}",
        "127.0.0.1:8082": f"127.0.0.1:{ports[-1]}",
    }
    for old, new in {**changes, **local}.items():
        assert old in text, f"{CONFIGURATION} has no longer {old!r}"
        text = text.replace(old, new)
    (folder / "shortlist.conf").write_text(text, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user), encoding="utf-8")
    return http, https


@contextlib.contextmanager
def nginx(folder: Path, ports: Sequence[int], changes: Mapping[str, str] | None = None) -> Iterator[Nginx]:
    """Check the configuration, and run nginx for as long as a test needs it."""
    program = find_nginx()
    assert program is not None
    http, https = configured(folder, ports, changes or {})
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr + (folder / "error.log").read_text()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or _accepts(https), START_S)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Nginx(folder, f"https://127.0.0.1:{https}", f"http://127.0.0.1:{http}", _trust(folder))
    finally:
        process.terminate()  # its workers end with it
        process.wait(timeout=10)


def _trust(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "one.crt"))


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
