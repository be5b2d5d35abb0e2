"""Every way to end has its number, and one line that says why."""

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
def test_wrong_input_ends_with_2_wherever_it_was_found_wrong(error: ServiceError, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error) == 2
    assert capsys.readouterr().err == "error: why\n"


@pytest.mark.parametrize(
    "error", [Unauthenticated("why"), NotFound("why"), EngineUnavailable("why"), BadSetting("why"), ModelRefused("why")]
)
def test_what_cannot_run_ends_with_3(error: ServiceError, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error) == 3
    assert capsys.readouterr().err == "error: why\n"


@pytest.mark.parametrize("code", [0, 1, 130])
def test_what_a_command_says_of_itself_is_its_number(code: int) -> None:
    with pytest.raises(typer.Exit) as caught:
        run_to_exit(lambda: code)
    assert caught.value.exit_code == code


def test_ctrl_c_is_left_to_the_process_owner() -> None:
    def start() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_exit(start)
