"""Servers are named by addresses; every flag reaches its server, and no key is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.bench.target import Target, address_of, for_each, targets
from shortlist.errors import BadSetting


def one(url: str = "http://127.0.0.1:8080", **flags: list[str]) -> Target:
    [target] = targets([url], **flags)  # type: ignore[arg-type]
    return target


# -- addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://localhost", "http://localhost:80"),
        ("https://host.example", "https://host.example:443"),
        ("https://host.example:1/api/v1/", "https://host.example:1/api"),
        ("http://localhost:8080/v1", "http://localhost:8080"),
        ("http://[::1]:81/x", "http://[::1]:81/x"),
        ("HTTP://Local:80", "http://local:80"),
    ],
)
def test_addresses_are_read(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://a", "http://", "http://:80", "http://a:b", "http://a:99999", "http://a/?q=1", "http://a/#x",
     "http://a/b c", "http://a/b\r\nx: y", "http://bücher.example", "file:///etc/passwd", "http://[::1"],
)  # fmt: skip
def test_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="not the address of a server"):
        address_of(url)


def test_users_in_an_address_would_stand_in_the_report() -> None:
    with pytest.raises(BadSetting, match="--api-key") as caught:
        address_of("http://user:secret@host")
    assert "secret" not in caught.value.message


def test_prefix_and_dialect_are_in_the_url() -> None:
    assert one("https://host.example/proxy/v1", dialect=["tei"]).url == "https://host.example:443/proxy/rerank"


def test_a_key_does_not_show() -> None:
    assert "hidden" not in repr(one(api_key=["hidden"]))


@pytest.mark.parametrize("key", ["a\r\nx: y", "ключ", "a\x00"])
def test_key_with_invalid_header_characters_is_refused(key: str) -> None:
    with pytest.raises(BadSetting, match="printable ASCII") as caught:
        one(api_key=[key])
    assert key not in caught.value.message


# -- contenders ---------------------------------------------------------------------------------------------------------


def test_contenders_have_their_given_names() -> None:
    found = targets(["ours=http://a:1", "http://b:2", " tei =http://c"])
    assert [target.name for target in found] == ["ours", "b:2", "tei"]
    assert [target.address for target in found] == ["http://a:1", "http://b:2", "http://c:80"]


@pytest.mark.parametrize("urls", [["a=http://x", "a=http://y"], ["http://x:1", "http://x:1/"]])
def test_no_two_have_the_same_name(urls: list[str]) -> None:
    with pytest.raises(BadSetting, match="same name"):
        targets(urls)


@pytest.mark.parametrize("url", ["=http://x", " =http://x"])
def test_a_name_has_letters(url: str) -> None:
    with pytest.raises(BadSetting, match="NAME=URL"):
        targets([url])


def test_each_contender_gets_its_own_options() -> None:
    ours, tei, other = targets(
        ["ours=http://a", "tei=http://b", "other=http://c"],
        dialect=["tei=tei", "openai"],
        model=["ours=m"],
        api_key=["tei=t", "for-all=x=="],
    )
    assert [each.dialect.name for each in (ours, tei, other)] == ["openai", "tei", "openai"]
    assert [each.model for each in (ours, tei, other)] == ["m", None, None]
    assert [each.api_key for each in (ours, tei, other)] == ["for-all=x==", "t", "for-all=x=="]


def test_default_key_is_sent_to_the_first_only() -> None:
    assert [each.api_key for each in targets(["a=http://a", "b=http://b"], own_key="k")] == ["k", None]
    assert [each.api_key for each in targets(["a=http://a", "b=http://b"], own_key="k", api_key=["b=x"])] == ["k", "x"]
    assert [each.api_key for each in targets(["a=http://a", "b=http://b"], own_key="k", api_key=["x"])] == ["x", "x"]


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(BadSetting, match="--dialect"):
        one(dialect=["sql"])


@given(
    texts=st.lists(st.text(max_size=6), max_size=5),
    names=st.lists(st.text("ab", min_size=1, max_size=2), unique=True, max_size=4),
)
def test_whatever_is_given_ends_with_those_there_are(texts: list[str], names: list[str]) -> None:
    found = for_each(texts, names)
    assert set(found) <= set(names)
    unnamed = [text for text in texts if "=" not in text]
    if unnamed and names:
        assert set(found) == set(names)


def test_named_option_overrides_in_any_position() -> None:
    assert for_each(["a=1", "2"], ["a", "b"]) == for_each(["2", "a=1"], ["a", "b"]) == {"a": "1", "b": "2"}
    assert for_each(["1", "2"], ["a"]) == {"a": "2"}
    assert for_each([], ["a"]) == {}
