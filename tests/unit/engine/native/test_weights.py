from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shortlist.engine.native.linears import Matrices, PlainLinears
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.qwen3 import LayerWeights, Qwen3Weights
from shortlist.engine.native.weights import load_weights, weight_files
from shortlist.errors import ModelRefused
from shortlist.types import EMBED, RERANK, Operation
from tests.support import qwen
from tests.support.fixtures import ModelFactory

SHAPE = qwen.Shape(layers=1, hidden=16, heads=2, kv_heads=1, head_dim=8, intermediate=24, max_positions=64)
VOCAB = 9700


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a model folder with one layer and a vocabulary just large enough for "yes" and "no", written for every test."""
    monkeypatch.setattr(qwen, "VOCAB_SIZE", VOCAB)

    def make(
        kind: qwen.Kind = "reranker", *, tied: bool = True, shards: int = 1, drop: str = "", **replaced: torch.Tensor
    ) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(qwen.config_of(kind, SHAPE, "float32", tied=tied)))
        weights = qwen.random_weights(kind, SHAPE, torch.float32, tied=tied)
        weights |= {name.replace("__", "."): tensor for name, tensor in replaced.items()}
        weights.pop(drop, None)
        qwen.save_weights(tmp_path, weights, shards=shards)
        return tmp_path

    return make


def load(folder: Path, task: Operation = RERANK, dtype: torch.dtype = torch.float32) -> Qwen3Weights:
    return load_weights(folder, Qwen3Config.read(folder), operation=task, dtype=dtype, device=torch.device("cpu"))


def matrices_of(layer: LayerWeights) -> Matrices:
    assert isinstance(layer.linears, PlainLinears)
    return layer.linears.matrices


# -- weights that are loaded --


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_every_tensor_is_where_it_belongs(model_folder: Callable[..., Path], shards: int) -> None:
    folder = model_folder(shards=shards)
    written = qwen.random_weights("reranker", SHAPE, torch.float32)
    read = load(folder)
    at = "model.layers.0."
    [layer] = read.layers
    assert torch.equal(read.embedding, written["model.embed_tokens.weight"])
    assert torch.equal(read.norm, written["model.norm.weight"])
    for tensor, name in [
        (layer.attention_norm, "input_layernorm"),
        (matrices_of(layer).q, "self_attn.q_proj"),
        (matrices_of(layer).k, "self_attn.k_proj"),
        (matrices_of(layer).v, "self_attn.v_proj"),
        (matrices_of(layer).o, "self_attn.o_proj"),
        (layer.q_norm, "self_attn.q_norm"),
        (layer.k_norm, "self_attn.k_norm"),
        (layer.mlp_norm, "post_attention_layernorm"),
        (matrices_of(layer).gate, "mlp.gate_proj"),
        (matrices_of(layer).up, "mlp.up_proj"),
        (matrices_of(layer).down, "mlp.down_proj"),
    ]:
        assert torch.equal(tensor, written[f"{at}{name}.weight"]), name


@pytest.mark.parametrize("tied", [True, False])
def test_answer_is_the_difference_of_two_rows_of_the_lm_head(model_folder: Callable[..., Path], tied: bool) -> None:
    folder = model_folder(tied=tied)
    lm_head = load_file(folder / "model.safetensors")["model.embed_tokens.weight" if tied else "lm_head.weight"]
    answer = load(folder).answer
    assert answer is not None
    assert torch.equal(answer, lm_head[qwen.YES] - lm_head[qwen.NO])


def test_answer_is_subtracted_in_fp32_whatever_the_dtype(model_folder: Callable[..., Path]) -> None:
    folder = model_folder()
    read = load(folder, dtype=torch.bfloat16)
    assert read.answer is not None
    assert read.answer.dtype == read.norm.dtype == read.layers[0].q_norm.dtype == torch.float32
    assert read.embedding.dtype == matrices_of(read.layers[0]).q.dtype == torch.bfloat16
    exact = load(folder).answer
    assert exact is not None
    assert torch.equal(read.answer, exact)


def test_answer_of_a_converted_classifier_is_its_one_row(model_folder: Callable[..., Path]) -> None:
    folder = model_folder("seqcls")
    answer = load(folder).answer
    assert answer is not None
    assert torch.equal(answer, load_file(folder / "model.safetensors")["score.weight"][0])


@pytest.mark.parametrize("kind", ["embedder", "reranker"])
def test_embedder_is_read_with_and_without_the_prefix(model_folder: Callable[..., Path], kind: qwen.Kind) -> None:
    read = load(model_folder(kind), task=EMBED)
    assert read.answer is None
    assert read.embedding.shape == (VOCAB, 16)


def test_matrices_already_in_the_dtype_are_not_copied(model_folder: Callable[..., Path]) -> None:
    """They stay mapped, and the memory is shared with every other process that serves the file."""
    folder = model_folder()
    mapped = [line for line in memory_maps() if "model.safetensors" in line]
    read = load(folder)
    now = [line for line in memory_maps() if "model.safetensors" in line and str(folder) in line]
    assert len(now) > len([line for line in mapped if str(folder) in line])
    starts = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in now]
    assert any(start <= read.embedding.data_ptr() < end for start, end in starts)


def memory_maps() -> list[str]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc/self/maps here")
    return maps.read_text().splitlines()


# -- weights that are refused --


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.0.self_attn.k_norm.weight",
        "model.layers.0.mlp.down_proj.weight",
    ],
)
def test_missing_tensor_is_refused_by_name(model_folder: Callable[..., Path], name: str) -> None:
    with pytest.raises(ModelRefused, match=name.removeprefix("model.")):
        load(model_folder(drop=name))


def test_missing_lm_head_is_refused_by_name(model_folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelRefused, match=r"lm_head\.weight"):
        load(model_folder(tied=False, drop="lm_head.weight"))


@pytest.mark.parametrize("name", ["model__layers__0__self_attn__q_proj__weight", "model__norm__weight"])
def test_wrong_shape_is_refused_by_name(model_folder: Callable[..., Path], name: str) -> None:
    with pytest.raises(ModelRefused, match=name.replace("__", ".")) as caught:
        load(model_folder(**{name: torch.zeros(3, 5)}))
    assert "[3, 5]" in caught.value.message


def test_classifier_with_two_outputs_is_refused(model_folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelRefused, match=r"score\.weight"):
        load(model_folder("seqcls", score__weight=torch.zeros(2, 16)))


def test_quantised_tensor_is_refused_by_name(model_folder: Callable[..., Path]) -> None:
    eights = torch.zeros(16, 24, dtype=torch.int8)
    with pytest.raises(ModelRefused, match=r"down_proj.*int8"):
        load(model_folder(model__layers__0__mlp__down_proj__weight=eights))


def test_pickles_are_never_read(model_folder: Callable[..., Path]) -> None:
    folder = model_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match="safetensors"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", struct.pack("<Q", 2**40) + b"{}", b"\x00" * 64])
def test_broken_file_is_refused_by_name(model_folder: Callable[..., Path], content: bytes) -> None:
    folder = model_folder()
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelRefused, match=r"model\.safetensors"):
        load(folder)


def test_cut_off_download_is_refused(model_folder: Callable[..., Path]) -> None:
    folder = model_folder()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelRefused, match=r"model\.safetensors"):
        load(folder)


@pytest.mark.parametrize("name", ["missing.safetensors", "../model.safetensors", "/etc/passwd"])
def test_index_may_name_only_files_beside_it(model_folder: Callable[..., Path], name: str) -> None:
    folder = model_folder(shards=2)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(ModelRefused, match=r"index\.json"):
        weight_files(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"x": [1]}}'])
def test_broken_index_is_refused(model_folder: Callable[..., Path], content: str) -> None:
    folder = model_folder(shards=2)
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelRefused, match=r"index\.json"):
        weight_files(folder)


# -- a configuration that contradicts the weights --


def with_fields(folder: Path, **fields: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vocab_size": VOCAB + 1}, "embed_tokens"),
        ({"vocab_size": 2000}, "embed_tokens"),
        ({"hidden_size": 8}, "embed_tokens"),
        ({"num_hidden_layers": 2}, r"layers\.1\."),
        ({"num_attention_heads": 4}, "q_proj"),
        ({"num_attention_heads": 4, "head_dim": 4, "num_key_value_heads": 2}, "q_norm"),
        ({"num_key_value_heads": 2}, "k_proj"),
        ({"head_dim": 4}, "q_proj"),
        ({"intermediate_size": 48}, "gate_proj"),
        ({"tie_word_embeddings": False}, "lm_head"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, r"score\.weight"),
    ],
)
def test_contradiction_is_refused_by_name(model_folder: Callable[..., Path], fields: dict[str, object], named: str) -> None:
    with pytest.raises(ModelRefused, match=named):
        load(with_fields(model_folder(), **fields))


def test_yes_and_no_beyond_the_vocabulary_are_refused(model_folder: Callable[..., Path]) -> None:
    folder = model_folder()
    config = Qwen3Config.read(folder)
    with pytest.raises(ModelRefused, match="yes and no"):
        load_weights(
            folder, config, operation=RERANK, dtype=torch.float32, device=torch.device("cpu"), answer_ids=lambda: (VOCAB, 1)
        )


@pytest.mark.parametrize("task", [RERANK, EMBED])
def test_undeclared_layers_are_refused(model_folder: Callable[..., Path], task: Operation) -> None:
    second = torch.zeros(16)
    with pytest.raises(ModelRefused, match=r"the weights have model\.layers\.1\.input_layernorm"):
        load(model_folder(model__layers__1__input_layernorm__weight=second), task)


def test_undeclared_biases_are_refused(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(**{f"model__layers__0__self_attn__{name}_proj__bias": torch.zeros(16) for name in "qk"})
    with pytest.raises(ModelRefused, match=r"k_proj\.bias and 1 more"):
        load(folder)


def test_classifier_declared_as_a_language_model_is_refused(model_folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelRefused, match=r"score\.weight"):
        load(with_fields(model_folder("seqcls"), architectures=["Qwen3ForCausalLM"]))


def test_tied_lm_head_that_differs_is_refused(model_folder: Callable[..., Path]) -> None:
    with pytest.raises(ModelRefused, match="tie_word_embeddings"):
        load(with_fields(model_folder(tied=False), tie_word_embeddings=True))


def test_tied_lm_head_that_is_stored_twice_is_accepted(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(tied=False)
    lm_head = load_file(folder / "model.safetensors")["lm_head.weight"]
    same = with_fields(model_folder(tied=False, model__embed_tokens__weight=lm_head.clone()), tie_word_embeddings=True)
    answer = load(same).answer
    assert answer is not None
    assert torch.equal(answer, lm_head[qwen.YES] - lm_head[qwen.NO])


def test_embedder_ignores_the_lm_head(model_folder: Callable[..., Path]) -> None:
    assert load(with_fields(model_folder(tied=False), tie_word_embeddings=True), EMBED).answer is None


def test_positions_stored_by_old_releases_are_ignored(model_folder: Callable[..., Path]) -> None:
    load(model_folder(model__layers__0__self_attn__rotary_emb__inv_freq=torch.zeros(4)))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("claimed", ["float32", "bfloat16", "float16", "int4"])
def test_dtype_comes_from_the_weights_not_the_configuration(
    model_folder: Callable[..., Path], stored: torch.dtype, claimed: str
) -> None:
    folder = with_fields(model_folder(), dtype=claimed, torch_dtype=claimed)
    weights = {name: tensor.to(stored) for name, tensor in load_file(folder / "model.safetensors").items()}
    qwen.save_weights(folder, weights)
    read = load(folder)
    assert read.embedding.dtype == torch.float32
    assert torch.equal(read.embedding, weights["model.embed_tokens.weight"].float())


def test_tensor_that_two_files_hold_is_refused(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(shards=2)
    one, other = weight_files(folder)
    save_file({**load_file(one), **load_file(other)}, str(other))
    with pytest.raises(ModelRefused, match=f"{other.name} holds .* a second time"):
        load(folder)


def test_index_with_wrong_file_names_does_no_harm(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(shards=2)
    index = folder / "model.safetensors.index.json"
    expected = load(folder)
    files = sorted({path.name for path in weight_files(folder)})
    index.write_text(json.dumps({"weight_map": {"x": files[0], "y": files[1]}}))
    assert torch.equal(load(folder).embedding, expected.embedding)


# -- memory --

PROGRAM = """
import sys
from pathlib import Path
import torch
from shortlist.engine.native.model_config import Qwen3Config
from shortlist.engine.native.weights import load_weights
from shortlist.types import RERANK

def anonymous_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

folder = Path(sys.argv[1])
before = anonymous_bytes()
config = Qwen3Config.read(folder)
read = load_weights(folder, config, operation=RERANK, dtype=getattr(torch, sys.argv[2]), device=torch.device("cpu"))
read.embedding.view(torch.int16).amax()  # every page of it is touched
print(anonymous_bytes() - before)
"""


@pytest.mark.parametrize(("stored", "most"), [("bfloat16", 0.15), ("float32", 0.65)])
def test_no_second_copy_of_the_weights_is_made(make_model: ModelFactory, stored: str, most: float) -> None:
    """Loaded in bfloat16: weights of that dtype stay in the file's pages; those in fp32 are converted and not kept."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("no /proc/self/smaps_rollup here")
    folder = make_model(dtype=stored)
    command = [sys.executable, "-c", PROGRAM, str(folder), "bfloat16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert int(done.stdout) < most * (folder / "model.safetensors").stat().st_size
