from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortlist.engine.native.linears import PlainLinears
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.portable_ops import rms_norm
from shortlist.engine.native.runner import pack_prompts
from shortlist.errors import ModelRefused
from tests.support import qwen
from tests.support.examples import examples
from tests.support.fixtures import ModelFactory
from tests.support.native import model_of, prefix_of, prompt_of


def write_config(folder: Path, drop: str = "", **change: Any) -> Path:
    fields: dict[str, Any] = qwen.config_of("reranker", qwen.SHAPES["tiny"], "float32", tied=True) | change
    fields.pop(drop, None)
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


# -- the configuration --


def test_configuration_is_read(tmp_path: Path) -> None:
    config = Qwen3Config.read(write_config(tmp_path))
    assert (config.num_layers, config.hidden_size, config.num_heads, config.num_kv_heads, config.head_dim) == (3, 64, 4, 2, 32)
    assert (config.rope_theta, config.norm_eps, config.max_positions) == (1e6, 1e-6, 4096)
    assert config.is_tied
    assert not config.is_classifier


def test_older_style_of_rotary_positions(tmp_path: Path) -> None:
    config = Qwen3Config.read(write_config(tmp_path, "rope_parameters", rope_theta=5e5, rope_scaling=None))
    assert config.rope_theta == 5e5


def test_head_dim_defaults_to_that_of_transformers(tmp_path: Path) -> None:
    assert Qwen3Config.read(write_config(tmp_path, "head_dim")).head_dim == 128


def test_lm_head_is_untied_by_default(tmp_path: Path) -> None:
    assert not Qwen3Config.read(write_config(tmp_path, "tie_word_embeddings")).is_tied


def test_classifier_is_recognised(tmp_path: Path) -> None:
    assert Qwen3Config.read(write_config(tmp_path, architectures=["Qwen3ForSequenceClassification"])).is_classifier


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "qwen2"),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("use_sliding_window", True),
        ("is_causal", False),
        ("quantization_config", {"quant_method": "fp8"}),
        ("layer_types", ["full_attention", "sliding_attention", "full_attention"]),
        ("architectures", ["Qwen3MoeForCausalLM"]),
        ("architectures", []),
        ("rope_scaling", {"type": "yarn", "factor": 4.0}),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e6}),
        ("rope_parameters", [1e6]),
        ("hidden_size", 0),
        ("hidden_size", "64"),
        ("vocab_size", None),
        ("num_hidden_layers", True),
        ("rms_norm_eps", -1.0),
        ("rms_norm_eps", True),
        ("rms_norm_eps", 10**400),
        ("tie_word_embeddings", "true"),
        ("architectures", "Qwen3ForCausalLM"),
        ("architectures", [["Qwen3ForCausalLM"]]),
        ("layer_types", 3),
        ("num_key_value_heads", 3),
        ("head_dim", 33),
    ],
)
def test_unsupported_value_is_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ModelRefused, match=field) as caught:
        Qwen3Config.read(write_config(tmp_path, **{field: value}))
    assert "config.json" in caught.value.message


@pytest.mark.parametrize(
    "field", ["model_type", "vocab_size", "hidden_size", "num_attention_heads", "max_position_embeddings", "architectures"]
)
def test_missing_field_is_refused_by_name(tmp_path: Path, field: str) -> None:
    with pytest.raises(ModelRefused, match=field):
        Qwen3Config.read(write_config(tmp_path, field))


def test_missing_base_of_rotary_positions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="rope_theta"):
        Qwen3Config.read(write_config(tmp_path, "rope_parameters"))


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_broken_configuration_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelRefused, match=r"config\.json"):
        Qwen3Config.read(tmp_path)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(field=st.sampled_from(sorted(qwen.config_of("reranker", qwen.SHAPES["tiny"], "float32", tied=True))), value=anything)
@settings(max_examples=examples(100, 600), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_field_is_read_or_refused(tmp_path: Path, field: str, value: Any) -> None:
    with contextlib.suppress(ModelRefused):
        Qwen3Config.read(write_config(tmp_path, **{field: value}))


# -- the forward pass; its numbers are compared with transformers' in tests/parity --


def test_norm_is_computed_in_fp32_and_rounded_once() -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(40, 64, generator=draw).to(torch.bfloat16) * 100, torch.randn(64, generator=draw)
    exact = F.rms_norm(x.double(), (64,), weight.double(), 1e-6)
    assert torch.equal(rms_norm(x, weight, 1e-6), exact.to(torch.bfloat16))


def test_states_are_fp32_one_per_scored_prompt(make_model: ModelFactory) -> None:
    model, prefix = model_of(make_model(), dtype=torch.bfloat16), prefix_of(5)
    pack = pack_prompts([prompt_of(prefix, 3), prompt_of(prefix, 4)])
    states = model.final_states(torch.from_numpy(pack.ids_T), torch.from_numpy(pack.positions_T), pack.layout)
    assert (states.dtype, tuple(states.shape)) == (torch.float32, (2, 64))


def test_weights_are_unchanged(make_model: ModelFactory) -> None:
    model = model_of(make_model())
    before = model.weights.embedding.clone()
    pack = pack_prompts([prompt_of(prefix_of(5), 30)])
    model.final_states(torch.from_numpy(pack.ids_T), torch.from_numpy(pack.positions_T), pack.layout)
    assert torch.equal(model.weights.embedding, before)


def test_activations_outside_attention_are_bounded_by_the_chunk(
    make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    linear = F.linear

    def spy(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return linear(x, weight)

    monkeypatch.setattr(F, "linear", spy)
    pack = pack_prompts([prompt_of(prefix_of(50), 300), prompt_of(prefix_of(0), 200)])
    model = model_of(make_model(), chunk_tokens=64)
    model.final_states(torch.from_numpy(pack.ids_T), torch.from_numpy(pack.positions_T), pack.layout)
    assert 32 < max(rows) <= 64


def test_last_layer_computes_queries_and_mlp_of_scored_tokens_only(
    make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(make_model())
    rows: dict[int, int] = {}
    linear = F.linear

    def spy(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows[weight.data_ptr()] = rows.get(weight.data_ptr(), 0) + len(x)
        return linear(x, weight)

    monkeypatch.setattr(F, "linear", spy)
    prefix = prefix_of(50)
    pack = pack_prompts([prompt_of(prefix, 30), prompt_of(prefix, 20)])
    model.final_states(torch.from_numpy(pack.ids_T), torch.from_numpy(pack.positions_T), pack.layout)
    last, first = (layer.linears for layer in (model.weights.layers[-1], model.weights.layers[0]))
    assert isinstance(last, PlainLinears)
    assert isinstance(first, PlainLinears)
    end, start = last.matrices, first.matrices
    assert [rows[weight.data_ptr()] for weight in (end.q, end.o, end.gate, end.up, end.down)] == [2] * 5
    assert [rows[weight.data_ptr()] for weight in (end.k, end.v, start.q, start.down)] == [100] * 4
