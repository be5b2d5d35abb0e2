"""The layouts of model folders whose detection is recorded: as published, and as users change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shortlist.hub.config_checks import WeightsReader
from shortlist.models.qwen3.detection import BASES, EMBEDDERS, RERANKERS
from shortlist.types import EMBED, RERANK, Operation
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
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder's files, and the declared task and hub name."""

    files: Files
    hub_id: str | None = None
    declared: Operation | None = None
    reader: WeightsReader = WeightsReader.SHORTLIST


YES_NO: Final = {"true_token_id": 9693, "false_token_id": 2152}
TEMPLATE: Final[Files] = reranker_template()
QWEN3_HEAD: Final[Files] = {**head("Qwen3ForSequenceClassification", "qwen3"), **TOKENIZER, **WEIGHTS}
GENERATIVE: Final[Files] = {**QWEN3, **modules("Transformer", "LogitScore", LogitScore=YES_NO), **library("CrossEncoder")}
BARE: Final[Files] = {**config("Qwen3Model", "qwen3"), **WEIGHTS}
SHARDS: Final = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
SHARDED: Final[Files] = {
    **head("BertForSequenceClassification"),
    "model.safetensors.index.json": to_json({"weight_map": {name: name for name in SHARDS}}),
}
CLASSES: Final = "sentence_transformers.models."
SUBFOLDER: Final[Files] = {
    **{f"0_Transformer/{name}": content for name, content in {**config("BertModel"), **WEIGHTS}.items()},
    "modules.json": to_json(
        [{"path": "0_Transformer", "type": f"{CLASSES}Transformer"}, {"path": "1_Pooling", "type": f"{CLASSES}Pooling"}]
    ),
}
FOREIGN: Final[Files] = {
    **BI_ENCODER,
    "modules.json": to_json([{"path": "", "type": f"{CLASSES}Transformer"}, {"path": "1", "type": "custom_st.Pooling"}]),
}


def _pooled(pooling: Mapping[str, object], *names: str) -> Files:
    steps = names or ("Transformer", "Pooling", "Normalize")
    return {**QWEN3_EMBEDDER, **modules(*steps, Pooling=pooling)}


def _published() -> dict[str, Layout]:
    known = {hub_id: Layout(QWEN3, hub_id) for hub_id in sorted(RERANKERS | EMBEDDERS | BASES)}
    other = ("qwen/qwen3-reranker-0.6b", "someone/Qwen3-Reranker-0.6B", "Qwen/Qwen3-Reranker-0.6B-tuned")
    return {
        **known,
        **{name: Layout(QWEN3, name) for name in other},
        "published reranker, declared to embed": Layout(QWEN3, "Qwen/Qwen3-Reranker-4B", EMBED),
        "published embedder, declared to rank": Layout(QWEN3, "Qwen/Qwen3-Embedding-4B", RERANK),
        "published embedder with modules and no prompt": Layout({**QWEN3_EMBEDDER, **library()}, "Qwen/Qwen3-Embedding-0.6B"),
        "published generative cross-encoder": Layout(GENERATIVE, "Qwen/Qwen3-Reranker-0.6B"),
    }


def _qwen3() -> dict[str, Layout]:
    return {
        "qwen3": Layout(QWEN3),
        "qwen3, declared to rank": Layout(QWEN3, declared=RERANK),
        "qwen3, declared to embed": Layout(QWEN3, declared=EMBED),
        "qwen3 without its head": Layout(BARE),
        "qwen3 without its head, declared to rank": Layout(BARE, declared=RERANK),
        "qwen3 without its head, declared to embed": Layout(BARE, declared=EMBED),
        "card: base is a reranker": Layout({**QWEN3, **card(base_model="Qwen/Qwen3-Reranker-4B")}),
        "card: base is one of several": Layout({**QWEN3, **card(base_model=["Qwen/Qwen3-Reranker-0.6B"], tags=["x"])}),
        "card: base and pipeline": Layout({**QWEN3, **card(base_model=["Qwen/Qwen3-0.6B-Base"], pipeline_tag="text-ranking")}),
        "card: pipeline text-ranking": Layout({**QWEN3, **card(pipeline_tag="text-ranking")}),
        "card: tag cross-encoder": Layout({**QWEN3, **card(tags=["transformers", "cross-encoder"])}),
        "card: base is an embedder": Layout({**QWEN3, **card(base_model="Qwen/Qwen3-Embedding-8B")}),
        "card: pipeline feature-extraction": Layout({**QWEN3, **card(pipeline_tag="feature-extraction")}),
        "card: tags of both": Layout({**QWEN3, **card(tags=["text-ranking", "feature-extraction"])}),
        "card: base is a chat model": Layout({**QWEN3, **card(base_model="Qwen/Qwen3-4B", pipeline_tag="text-ranking")}),
        "card: not readable": Layout({**QWEN3, "README.md": b"---\n: : [\n---\n"}),
        "card against what is declared": Layout({**QWEN3, **card(pipeline_tag="feature-extraction")}, declared=RERANK),
        "head": Layout(QWEN3_HEAD),
        "head, declared to embed": Layout(QWEN3_HEAD, declared=EMBED),
        "head from the reranker": Layout({**QWEN3_HEAD, **card(base_model="Qwen/Qwen3-Reranker-0.6B")}),
        "head from the base": Layout({**QWEN3_HEAD, **card(base_model="Qwen/Qwen3-0.6B-Base")}),
        "head from the base, with the template": Layout({**QWEN3_HEAD, **card(base_model="Qwen/Qwen3-0.6B"), **TEMPLATE}),
        "head with modules": Layout({**QWEN3_HEAD, **modules("Transformer"), **library("CrossEncoder")}),
        "head with modules and the template": Layout(
            {**QWEN3_HEAD, **modules("Transformer"), **library("CrossEncoder"), **TEMPLATE}
        ),
        "generative": Layout(GENERATIVE),
        "generative with the template": Layout({**GENERATIVE, **TEMPLATE}),
        "generative from the reranker": Layout({**GENERATIVE, **card(base_model="Qwen/Qwen3-Reranker-8B")}),
        "generative with other answers": Layout(
            {
                **GENERATIVE,
                **TEMPLATE,
                **modules("Transformer", "LogitScore", LogitScore={"true_token_id": 16, "false_token_id": 15}),
            }
        ),
        "generative qwen2": Layout({**GENERATIVE, **TEMPLATE, **config("Qwen2ForCausalLM", "qwen2")}),
        "template in the tokenizer's settings": Layout(
            {**GENERATIVE, "tokenizer_config.json": to_json({"chat_template": TEMPLATE["chat_template.jinja"].decode()})}
        ),
        "quantised": Layout({**config("Qwen3ForCausalLM", "qwen3", quantization_config={"bits": 4}), **WEIGHTS}),
        "quantised, for vllm": Layout(
            {**config("Qwen3ForCausalLM", "qwen3", quantization_config={"quant_method": "fp8"}), **WEIGHTS},
            "Qwen/Qwen3-Reranker-0.6B",
            reader=WeightsReader.VLLM,
        ),
        "weights elsewhere": Layout(
            config("Qwen3ForCausalLM", "qwen3"), "Qwen/Qwen3-Reranker-0.6B", reader=WeightsReader.UPSTREAM
        ),
    }


def _pooled_qwen3() -> dict[str, Layout]:
    return {
        "pooled qwen3": Layout(QWEN3_EMBEDDER),
        "pooled qwen3, declared to rank": Layout(QWEN3_EMBEDDER, declared=RERANK),
        "pooled qwen3, new spelling": Layout(_pooled({"pooling_mode": "lasttoken"})),
        "pooled qwen3, mean": Layout(_pooled(MEAN)),
        "pooled qwen3, two switches": Layout(_pooled({**LAST_TOKEN, "pooling_mode_cls_token": True})),
        "pooled qwen3, dense layer": Layout(_pooled(LAST_TOKEN, "Transformer", "Pooling", "Dense", "Normalize")),
        "pooled qwen3, other prompt": Layout({**QWEN3_EMBEDDER, **library(prompts={"query": "search_query: "})}),
        "pooled qwen3, no prompt": Layout({**QWEN3_EMBEDDER, **library()}),
        "pooled qwen3, prompt with a card": Layout({**QWEN3_EMBEDDER, **library(prompts=QUERY_PROMPT), **card(tags=["x"])}),
        "pooled qwen2": Layout({**QWEN3_EMBEDDER, **config("Qwen2ForCausalLM", "qwen2")}),
    }


def _library() -> dict[str, Layout]:
    dense = {**config("BertModel"), **WEIGHTS}
    return {
        "cross-encoder": Layout(CROSS_ENCODER),
        "cross-encoder, declared to embed": Layout(CROSS_ENCODER, declared=EMBED),
        "cross-encoder by num_labels": Layout({**config("XLMRobertaForSequenceClassification", num_labels=1), **WEIGHTS}),
        "cross-encoder with modules": Layout({**CROSS_ENCODER, **modules("Transformer"), **library("CrossEncoder")}),
        "cross-encoder of modules": Layout({**dense, **modules("Transformer", "Pooling", "Dense"), **library("CrossEncoder")}),
        "cross-encoder without a head": Layout({**dense, **modules("Transformer"), **library("CrossEncoder")}),
        "bi-encoder": Layout(BI_ENCODER),
        "bi-encoder, declared to rank": Layout(BI_ENCODER, declared=RERANK),
        "bi-encoder in a subfolder": Layout(SUBFOLDER),
        "bare encoder": Layout(dense),
        "classifier": Layout({**head("BertForSequenceClassification", labels=3), **WEIGHTS}),
        "classifier with unnamed labels": Layout({**config("BertForSequenceClassification"), **WEIGHTS}),
        "sparse encoder": Layout(
            {**config("BertForMaskedLM"), **WEIGHTS, **modules("Transformer", "SpladePooling"), **library("SparseEncoder")}
        ),
        "multi-vector encoder": Layout({**dense, **library("MultiVectorEncoder")}),
        "static embedding": Layout({**dense, **modules("StaticEmbedding")}),
        "router": Layout({**dense, **modules("Router", "Pooling")}),
        "language model": Layout({**config("LlamaForCausalLM", "llama"), **WEIGHTS, **card(pipeline_tag="text-ranking")}),
        "no architecture": Layout({"config.json": to_json({"model_type": "bert"}), **WEIGHTS}),
    }


def _refused() -> dict[str, Layout]:
    foreign = {"architectures": ["BertForSequenceClassification"], "num_labels": 1, "auto_map": {"AutoModel": "modeling_x.X"}}
    return {
        "adapter": Layout({"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"}),
        "adapter beside a model": Layout({**CROSS_ENCODER, "adapter_config.json": b"{}"}),
        "gguf": Layout({"model-q8_0.GGUF": b"GGUF"}),
        "no config": Layout(WEIGHTS),
        "code of its own": Layout({**CROSS_ENCODER, "config.json": to_json(foreign)}),
        "module of its own": Layout(FOREIGN),
        "pickles": Layout({**head("BertForSequenceClassification"), "pytorch_model.bin": b"\x80"}),
        "pickles beside safetensors": Layout({**CROSS_ENCODER, "pytorch_model.bin": b"\x80"}),
        "onnx": Layout({**head("BertForSequenceClassification"), "onnx/model.onnx": b"o"}),
        "no weights": Layout(head("BertForSequenceClassification")),
        "shards": Layout({**SHARDED, **dict.fromkeys(SHARDS, b"w")}),
        "a shard is missing": Layout({**SHARDED, SHARDS[0]: b"w"}),
        "config is not json": Layout({**BI_ENCODER, "config.json": b"{"}),
        "modules point outside": Layout(
            {**BI_ENCODER, "modules.json": to_json([{"path": "../elsewhere", "type": f"{CLASSES}Transformer"}])}
        ),
    }


LAYOUTS: Final[Mapping[str, Layout]] = {**_published(), **_qwen3(), **_pooled_qwen3(), **_library(), **_refused()}
