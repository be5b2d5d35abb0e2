"""Every form that a model can be named in, and none besides."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.errors import BadSetting
from shortlist.hub.reference import Reference, Source, parse


def test_demo_is_the_bundled_model() -> None:
    assert parse("demo") == Reference(Source.DEMO, "demo")
    assert parse("demo").basename == "demo"
    assert parse("demo").hub_id is None


@pytest.mark.parametrize(
    "name", ["Qwen/Qwen3-Reranker-0.6B", "cross-encoder/ms-marco-MiniLM-L6-v2", "a/b", "BAAI/bge-m3", "0x/y_z.1", "a-1/demo"]
)
def test_owner_and_name_are_hugging_face(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reference = parse(name)
    assert reference == Reference(Source.HUGGING_FACE, name)
    assert reference.hub_id == name
    assert reference.basename == name.split("/")[1]


def test_prefix_names_modelscope_and_is_not_part_of_the_name() -> None:
    reference = parse("modelscope:Qwen/Qwen3-Embedding-4B")
    assert reference == Reference(Source.MODELSCOPE, "Qwen/Qwen3-Embedding-4B")
    assert reference.hub_id == "Qwen/Qwen3-Embedding-4B"
    assert reference.basename == "Qwen3-Embedding-4B"
    assert parse(reference.text) == reference


def test_surrounding_space_is_ignored() -> None:
    assert parse("  demo\n") == parse("demo")


@pytest.mark.parametrize("text", ["./model", "../srv/model", "."])
def test_dots_start_a_folder(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "work"
    (here / "model").mkdir(parents=True)
    monkeypatch.chdir(here)
    reference = parse(text)
    assert reference.source is Source.FOLDER
    assert reference.name == str((here / text).resolve())
    assert Path(reference.name).is_absolute()


def test_slash_starts_a_folder_even_one_that_is_not_there(tmp_path: Path) -> None:
    assert parse(str(tmp_path / "gone")) == Reference(Source.FOLDER, str(tmp_path / "gone"))


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    reference = parse("~/models/mine")
    assert reference.name == str(tmp_path / "models" / "mine")
    assert reference.basename == "mine"


def test_tilde_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(BadSetting, match="not a path that can be followed"):
        parse("~nobody-of-that-name/model")


def test_existing_folder_wins_over_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Qwen" / "Qwen3-Reranker-0.6B").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse("Qwen/Qwen3-Reranker-0.6B").source is Source.FOLDER


def test_folder_name_is_no_evidence(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen" / "Qwen3-Reranker-0.6B"
    folder.mkdir(parents=True)
    assert parse(str(folder)).hub_id is None
    assert parse(str(folder)).basename == "Qwen3-Reranker-0.6B"


def test_file_of_a_hub_name_does_not_hide_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("")
    monkeypatch.chdir(tmp_path)
    assert parse("a/b").source is Source.HUGGING_FACE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "bert-base-uncased",
        "a/b/c",
        "https://huggingface.co/Qwen/Qwen3-Reranker-0.6B",
        "Qwen/Qwen3 Reranker",
        "Qwen/",
        "Qwen/-leading",
        "Qwen/a..b",
        "Qwen/a--b",
        "Qwen/name.git",
        "Qwen/name.",
        "Qwen/Qwen3-Reranker-0.6B@main",
        "modelscope:",
        "modelscope:demo",
        "modelscope:./folder",
        "huggingface:Qwen/Qwen3-Reranker-0.6B",
        "Demo",
        "a/" + "b" * 200,
        "x" * 5000,
    ],
)
def test_malformed_names_are_refused_with_the_right_forms(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSetting) as refused:
        parse(text)
    for form in ("OWNER/NAME", "modelscope:OWNER/NAME", "./my-model", "demo"):
        assert form in refused.value.message


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except BadSetting:
        return
    assert reference.name
    assert reference.source is not Source.HUGGING_FACE or reference.name.count("/") == 1
