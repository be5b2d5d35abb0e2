"""Model folders made of small files, as they are published: settings that say what a model is, and a stand-in for weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from shortlist.models.qwen3 import prompt

Files = Mapping[str, bytes]

WEIGHTS = {"model.safetensors": b"weights" * 1000}
TOKENIZER = {"tokenizer.json": b"{}", "tokenizer_config.json": b'{"model_max_length": 512}'}

LIBRARY = "sentence_transformers.models."
LAST_TOKEN = {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False}
QUERY_PROMPT = {
    "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    "document": "",
}


def to_json(value: object) -> bytes:
    return json.dumps(value).encode()


def config(architecture: str, model_type: str = "bert", **facts: object) -> Files:
    return {"config.json": to_json({"architectures": [architecture], "model_type": model_type, **facts})}


def head(architecture: str, model_type: str = "bert", labels: int = 1) -> Files:
    return config(architecture, model_type, id2label={str(i): f"LABEL_{i}" for i in range(labels)})


def card(**facts: object) -> Files:
    """A README whose front matter is JSON, which is YAML too."""
    return {"README.md": b"---\n" + to_json(facts) + b"\n---\n# A model\n"}


def modules(*names: str, **settings: object) -> Files:
    """modules.json with these class names; `settings` by class name become the modules' own config.json."""
    paths = ["" if i == 0 else f"{i}_{name}" for i, name in enumerate(names)]
    steps = [
        {"idx": i, "name": str(i), "path": path, "type": LIBRARY + name}
        for i, (path, name) in enumerate(zip(paths, names, strict=True))
    ]
    own = {f"{path}/config.json": to_json(settings[name]) for path, name in zip(paths, names, strict=True) if name in settings}
    return {"modules.json": to_json(steps), **own}


def library(model_type: str | None = None, **facts: object) -> Files:
    typed = {} if model_type is None else {"model_type": model_type}
    return {"config_sentence_transformers.json": to_json({"__version__": {"sentence_transformers": "6.0.0"}, **typed, **facts})}


QWEN3 = {**config("Qwen3ForCausalLM", "qwen3"), **TOKENIZER, **WEIGHTS}
CROSS_ENCODER = {**head("BertForSequenceClassification"), **TOKENIZER, **WEIGHTS}
BI_ENCODER = {**config("BertModel"), **modules("Transformer", "Pooling", "Normalize", Pooling=MEAN), **TOKENIZER, **WEIGHTS}
END_OF_TEXT = {"model": {}, "post_processor": {"single": [{"Sequence": {}}, {"SpecialToken": {"id": "<|endoftext|>"}}]}}
QWEN3_EMBEDDER = {
    **QWEN3,
    "tokenizer.json": to_json(END_OF_TEXT),
    **modules("Transformer", "Pooling", "Normalize", Pooling=LAST_TOKEN),
    **library(prompts=QUERY_PROMPT),
}


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def reranker_template(instruction: str = prompt.DEFAULT_INSTRUCTION, *, prefix: str = prompt.RERANK_PREFIX) -> Files:
    """The chat template of a reranker in the form of Qwen3-Reranker, as sentence-transformers reads it."""
    lines = [
        f"{{%- set ns = namespace(i={json.dumps(instruction)}, q='', d='') -%}}",
        "{%- for m in messages -%}",
        "{%- if m['role'] == 'system' -%}{%- set ns.i = m['content'] -%}",
        "{%- elif m['role'] == 'query' -%}{%- set ns.q = m['content'] -%}",
        "{%- elif m['role'] == 'document' -%}{%- set ns.d = m['content'] -%}{%- endif -%}",
        "{%- endfor -%}",
        f"{{{{- {json.dumps(prefix)} + '<Instruct>: ' + ns.i + '\\n<Query>: ' + ns.q + '\\n<Document>: ' + ns.d -}}}}",
        f"{{{{- {json.dumps(prompt.RERANK_SUFFIX)} -}}}}",
    ]
    return {"chat_template.jinja": "\n".join(lines).encode()}
