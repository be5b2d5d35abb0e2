"""Exit codes and one-line errors of commands."""

from __future__ import annotations

import pytest
import typer

from shortlist.cli.exit_codes import run_to_exit
from shortlist.errors import (
    BadSetting,
    BodyTooLarge,
    EngineUnavailable,
    InputTooLong,
    InvalidInput,
    ModelRefused,
    NotFound,
    ServiceError,
    Unauthenticated,
)


def ended(error: ServiceError) -> int:
    def start() -> int:
        raise error

    with pytest.raises(typer.Exit) as caught:
        run_to_exit(start)
    return caught.value.exit_code


@pytest.mark.parametrize("error", [InvalidInput("why"), InputTooLong("why"), BodyTooLarge("why")])
def test_invalid_input_exits_with_2(error: ServiceError, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error) == 2
    assert capsys.readouterr().err == "error: why\n"


@pytest.mark.parametrize(
    "error", [Unauthenticated("why"), NotFound("why"), EngineUnavailable("why"), BadSetting("why"), ModelRefused("why")]
)
def test_start_errors_exit_with_3(error: ServiceError, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error) == 3
    assert capsys.readouterr().err == "error: why\n"


@pytest.mark.parametrize("code", [0, 1, 130])
def test_returned_code_is_the_exit_code(code: int) -> None:
    with pytest.raises(typer.Exit) as caught:
        run_to_exit(lambda: code)
    assert caught.value.exit_code == code


def test_ctrl_c_is_not_caught() -> None:
    def start() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_exit(start)
