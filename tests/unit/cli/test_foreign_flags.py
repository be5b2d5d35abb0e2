"""Commands of other servers work, or are answered with the flag to write instead."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from shortlist.cli import load
from shortlist.cli.foreign_flags import ADVICE
from shortlist.config import Settings


def parsed(*args: str) -> dict[str, Any]:
    found: dict[str, Any] = load("serve").make_context("serve", list(args)).params
    return found


@pytest.mark.parametrize("args", [("--max_model_len", "512"), ("--max_model_len=512",), ("--max-model-len", "512")])
def test_underscores_are_dashes(args: tuple[str, ...]) -> None:
    assert parsed("demo", *args)["max_model_len"] == 512


def test_switches_have_underscores_too() -> None:
    assert parsed("demo", "--enable_prefix_caching")["enable_prefix_caching"] is True


def test_alias_of_another_server_is_taken() -> None:
    assert parsed("demo", "--timeout-keep-alive", "5")["keep_alive_timeout_s"] == 5


def test_values_are_left_as_they_are() -> None:
    assert parsed("demo", "--alias", "a_b=demo")["alias"] == ["a_b=demo"]
    assert parsed("demo", "--", "--task")["models"] == ["demo", "--task"]


@pytest.mark.parametrize("flag", ADVICE)
@pytest.mark.parametrize("spelling", ["{} x", "{}=x", "{}"])
def test_flag_of_another_server_is_answered_with_ours(flag: str, spelling: str) -> None:
    for name in (flag, flag.replace("-", "_").replace("__", "--", 1)):
        with pytest.raises(typer.BadParameter, match="another server's flag") as error:
            parsed("demo", *spelling.format(name).split())
        assert ADVICE[flag] in error.value.message


def test_unknown_flag_stays_unknown() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed("demo", "--nonsense")


def test_longer_model_raises_the_tokens_of_a_batch() -> None:
    assert Settings.load({"max_model_len": 32_768}, environ={}).scheduler.max_batch_tokens == 32_768
    assert Settings.load({}, environ={"SHORTLIST_MAX_MODEL_LEN": "32768"}).scheduler.max_batch_tokens == 32_768
    assert Settings.load({"max_model_len": 512}, environ={}).scheduler.max_batch_tokens == 16_384
