"""What a folder states of its own use, and which statement comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import ModelMetadata, read_metadata
from shortlist.models.qwen3.instruction import default_instruction
from shortlist.models.qwen3.prompt import DEFAULT_INSTRUCTION
from shortlist.models.stated import length_limit, prompts_of, rendered
from shortlist.text.model_prompts import Prompts
from tests.support.model_folder import QWEN3, Files, library, reranker_template, to_json, write


def stated(folder: Path, files: Files) -> ModelMetadata:
    return read_metadata(write(folder, {**QWEN3, **files}), name="m")


def tokenizer(limit: object) -> Files:
    return {"tokenizer_config.json": to_json({"model_max_length": limit})}


def settings(name: str = "sentence_bert_config.json", **facts: object) -> Files:
    return {name: to_json(facts)}


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        (tokenizer(512), 512),
        (tokenizer(1e30), None),
        (tokenizer(None), None),
        (tokenizer("512"), None),
        (tokenizer(True), None),
        ({**tokenizer(512), **settings(max_seq_length=128)}, 128),
        ({**tokenizer(128), **settings(max_seq_length=512)}, 512),
        ({**tokenizer(128), **settings(max_seq_length=None)}, 128),
        ({**tokenizer(512), **settings("sentence_roberta_config.json", max_seq_length=64)}, 64),
    ],
)
def test_length_limit_is_that_of_the_first_module_or_of_the_tokenizer(files: Files, limit: int | None, tmp_path: Path) -> None:
    assert length_limit(stated(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("files", "instruction"),
    [
        ({}, DEFAULT_INSTRUCTION),
        (reranker_template("Find statutes"), "Find statutes"),
        (
            {**reranker_template("Find statutes"), **library(prompts={"code": "Find functions"}, default_prompt_name="code")},
            "Find functions",
        ),
        (library(prompts={"code": "Find functions"}), DEFAULT_INSTRUCTION),
        (reranker_template("x", prefix="Another frame: "), DEFAULT_INSTRUCTION),
    ],
)
def test_default_instruction_is_the_default_prompt_or_that_of_the_template(
    files: Files, instruction: str, tmp_path: Path
) -> None:
    assert default_instruction(stated(tmp_path, files)) == instruction


def test_prompts_that_are_not_set_are_empty(tmp_path: Path) -> None:
    found = prompts_of(stated(tmp_path, library(prompts={"query": None, "sts": "Compare: "}, default_prompt_name="sts")))
    assert found == Prompts({"query": "", "sts": "Compare: "}, "sts")


@pytest.mark.parametrize(
    "facts", [{"prompts": ["query"]}, {"prompts": {"query": 5}}, {"default_prompt_name": "none"}, {"default_prompt_name": 5}]
)
def test_prompts_that_are_not_texts_are_refused(facts: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"config_sentence_transformers\.json"):
        prompts_of(stated(tmp_path, {"config_sentence_transformers.json": to_json(facts)}))


@pytest.mark.parametrize(
    "template",
    ["{{", "{{ raise_exception('no') }}", "{{ messages[0].content.nothing() }}", "{{ 1 / 0 }}", "{{ [].__class__.__mro__ }}"],
)
def test_template_that_cannot_be_rendered_is_none(template: str) -> None:
    assert rendered(template, [{"role": "query", "content": "q"}]) is None
