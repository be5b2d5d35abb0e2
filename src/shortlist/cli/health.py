"""`shortlist health`: what a container's health check runs. It imports little, because it runs every few seconds."""

from __future__ import annotations

import http.client
import ssl
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from shortlist.cli.exit_codes import EXIT_CANNOT_START, EXIT_DONE, EXIT_PARTLY, print_error, run_to_exit

TIMEOUT_S: Final = 5.0
EPILOG: Final = "Exit codes: 0 ready, 1 not ready, 2 invalid usage, 3 no server answers."
URL_HELP: Final = "The server's address; by default http://127.0.0.1 with the port of SHORTLIST_PORT, or 8080."

app = typer.Typer(add_completion=False)


@app.command(epilog=EPILOG)
def health(
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help=URL_HELP, show_default=False)] = None,
    port: Annotated[int, typer.Option(envvar="SHORTLIST_PORT", min=1, max=65_535, help="Port, without a URL.")] = 8080,
) -> None:
    """Ask a server whether it is ready."""
    address = url or f"http://127.0.0.1:{port}"
    if not is_address(address):
        raise typer.BadParameter("it must be the address of a server, as http://localhost:8080.", param_hint="URL")
    run_to_exit(lambda: ask(address))


def is_address(url: str) -> bool:
    """Return whether this is the address of a server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not one
        return False


def ask(url: str) -> int:
    """Ask `GET /ready`, and return the exit code. Certificates are not checked: nothing secret is sent, or believed."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        print_error(f"no server answers at {parts.hostname} within {TIMEOUT_S:g} s.")
        return EXIT_CANNOT_START
    finally:
        connection.close()
    if status != http.client.OK:
        print_error(f"the server is not ready (status {status}).")
        return EXIT_PARTLY
    typer.echo("ready")
    return EXIT_DONE


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=unchecked)
