"""Generates model folders: every option that a repository may state, in random combinations, around tiny random weights.

A layout is determined by its number, so that a failure can be made again.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import PreTrainedModel

from shortlist.bench.texts import sentences
from tests.support import qwen
from tests.support.model_folder import reranker_template
from tests.support.models import DEMO

Kind = Literal["embedder", "cross-encoder"]

HIDDEN: Final = 32
MODULES: Final = "sentence_transformers.models."
NO_LIMIT: Final = 10**30

SMALL: Final = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
WIDE: Final = {"initializer_range": 0.5}
"""Weights far from zero, so that a wrong prompt or cut is as visible as in a trained model."""


@dataclass(frozen=True)
class Layout:
    """A model folder, and how it came about.

    Attributes:
        kind: What sentence-transformers loads it as.
        folder: The folder.
        says: The options that were drawn.
        prompts: Its prompts by name.
        default: The name of its default prompt.
    """

    kind: Kind
    folder: Path
    says: Mapping[str, object]
    prompts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None


class Drawing:
    """Draws options, and remembers them."""

    def __init__(self, number: int) -> None:
        self.rng = random.Random(number)
        self.says: dict[str, object] = {}

    def one(self, name: str, options: Sequence[Any]) -> Any:
        drawn = self.rng.choice(options)
        self.says[name] = drawn
        return drawn


# -- vocabularies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabularies:
    """Tokenizer files that are made once: of BERT, of XLM-RoBERTa, of Qwen and of Qwen's embedders."""

    bert: Path
    unigram: Path
    qwen: Path
    qwen_embedder: Path

    @classmethod
    def write(cls, folder: Path, qwen_tokenizer: Path) -> Vocabularies:
        made = {name: folder / name for name in ("bert", "unigram", "qwen", "qwen_embedder")}
        for path in made.values():
            path.mkdir(parents=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            if (DEMO / name).exists():
                shutil.copy(DEMO / name, made["bert"])
        _write_unigram(made["unigram"])
        for kind, name in (("reranker", "qwen"), ("embedder", "qwen_embedder")):
            qwen._write_tokenizer_files(made[name], kind, qwen_tokenizer)  # type: ignore[arg-type]
        return cls(**made)


def _write_unigram(folder: Path) -> None:
    tokenizer = Tokenizer(tokenizer_models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(list(sentences())[:200], trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    tokens = {f"{name}_token": token for name, token in named.items()}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", **tokens})


# -- architectures ------------------------------------------------------------------------------------------------------

BERT_IDS: Final = {"pad_token_id": 0, "cls_token_id": 101, "sep_token_id": 102, "bos_token_id": 101, "eos_token_id": 102}
ROBERTA_IDS: Final = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
MODERN: Final = {"local_attention": 8, "global_attn_every_n_layers": 2, "initializer_cutoff_factor": 2.0}
QWEN: Final = {"vocab_size": qwen.VOCAB_SIZE, "num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True}

ENCODERS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "Bert": ("bert", {"vocab_size": 30_522, **WIDE}),
    "Electra": ("bert", {"vocab_size": 30_522, "embedding_size": HIDDEN, **WIDE}),
    "DistilBert": ("bert", {"vocab_size": 30_522, "dim": HIDDEN, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, **WIDE}),
    "ModernBert": ("bert", {"vocab_size": 30_522, **BERT_IDS, **MODERN, **WIDE}),
    "NomicBert": ("bert", {"vocab_size": 30_522, **WIDE}),
    "XLMRoberta": ("unigram", {"vocab_size": 400, "type_vocab_size": 1, **ROBERTA_IDS, **WIDE}),
    "Roberta": ("unigram", {"vocab_size": 400, "type_vocab_size": 1, **ROBERTA_IDS, **WIDE}),
    "MPNet": ("unigram", {"vocab_size": 400, **ROBERTA_IDS, **WIDE}),
    "Gte": ("unigram", {"vocab_size": 400, "pad_token_id": 1, **WIDE}),
    "Qwen3": ("qwen", {**QWEN, "initializer_range": 0.12}),
    "Qwen2": ("qwen", {**{name: value for name, value in QWEN.items() if name != "head_dim"}, "initializer_range": 0.12}),
}
"""Vocabulary and options of each architecture, by the beginning of its class names."""

CODE: Final = {"NomicBert", "Gte"}
"""Those that were published with code of their own."""

LACKS_HEAD: Final = {"NomicBert"}
"""Those without a class for sequence classification."""


def _model(name: str, *, suffix: str, draw: Drawing, **options: object) -> PreTrainedModel:
    positions = draw.one("max_position_embeddings", [66, 130, 514])
    config_class = getattr(transformers, f"{name}Config")
    is_distil = name == "DistilBert"
    shape = {} if is_distil else SMALL
    config = config_class(**{**shape, **ENCODERS[name][1], "max_position_embeddings": positions, **options})
    torch.manual_seed(draw.rng.randrange(1 << 30))
    model: PreTrainedModel = getattr(transformers, f"{name}{suffix}")(config)
    return model


def _save(model: PreTrainedModel, folder: Path, vocabulary: Path, draw: Drawing, name: str) -> None:
    """Save weights and tokenizer, with a limit of the tokenizer's own and a trace of the code that is not needed any more."""
    model.save_pretrained(folder)
    for path in vocabulary.iterdir():
        shutil.copy(path, folder)
    limit = draw.one("model_max_length", [None, 40, 512, NO_LIMIT])
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("model_max_length", None)
    _write(folder / "tokenizer_config.json", config if limit is None else {**config, "model_max_length": limit})
    if vocabulary.name == "bert" and draw.one("tokenizer.json", [True, True, False]) is False:
        (folder / "tokenizer.json").unlink()
    if name in CODE and draw.one("auto_map", [True, False]):
        fields = json.loads((folder / "config.json").read_text())
        _write(folder / "config.json", {**fields, "auto_map": {"AutoModel": f"modeling.{name}Model"}})


# -- embedders ----------------------------------------------------------------------------------------------------------

PROMPTS: Final[Sequence[Mapping[str, str]]] = (
    {},
    {"query": "query: ", "passage": "passage: "},
    {"query": "Represent the question: ", "document": "Represent the document: "},
    {"query": "search_query: ", "clustering": "cluster: "},
    {"retrieval": "Find similar text: ", "sts": "Compare: "},
    {"query": "Instruct: Given a legal question, retrieve statutes that answer it\nQuery:", "document": ""},
    {"query": "Instruct: Given a claim, find what refutes it\nQuery: ", "sts": "Instruct: Compare\nQuery:"},
)
POOLINGS: Final = ("mean_tokens", "cls_token", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


def embedder(number: int, folder: Path, vocabularies: Vocabularies) -> Layout:
    """Write the folder of an embedder."""
    draw = Drawing(number)
    name = draw.one("architecture", [each for each in ENCODERS if each != "DistilBert"] + ["DistilBert"])
    is_qwen = name.startswith("Qwen")
    home = folder / draw.one("subfolder", ["", "", "0_Transformer"])
    home.mkdir(parents=True)
    kind = ENCODERS[name][0]
    is_published = is_qwen and draw.one("appends the end of text", [True, True, False])
    vocabulary = getattr(vocabularies, "qwen_embedder" if is_published else kind)
    _save(_model(name, suffix="Model", draw=draw), home, vocabulary, draw, name)

    settings: dict[str, object] = {"do_lower_case": draw.one("do_lower_case", [False, False, True])}
    if (limit := draw.one("max_seq_length", [None, 24, 60, 512])) is not None:
        settings["max_seq_length"] = limit
    if draw.one("settings of the transformer", [True, True, False]):
        _write(
            home / draw.one("name of the settings", ["sentence_bert_config.json"] * 3 + ["sentence_roberta_config.json"]),
            settings,
        )

    modes = draw.one("pooling", [(each,) for each in POOLINGS] + [("cls_token", "mean_tokens")])
    if is_published:
        modes = draw.one("pooling", [("lasttoken",)])
    width = HIDDEN * len(modes)
    pooling: dict[str, object] = {"word_embedding_dimension": HIDDEN}
    pooling |= {f"pooling_mode_{each}": each in modes for each in POOLINGS}
    pooling["include_prompt"] = draw.one("include_prompt", [True, True, False])
    steps: list[tuple[str, dict[str, object] | None]] = [("Transformer", None), ("Pooling", pooling)]
    if draw.one("dense", [False, False, True]):
        steps.append(
            (
                "Dense",
                {
                    "in_features": width,
                    "out_features": 16,
                    "bias": True,
                    "activation_function": "torch.nn.modules.activation.Tanh",
                },
            )
        )
    if draw.one("normalize", [True, True, False]):
        steps.append(("Normalize", None))
    _write_modules(folder, home, steps, draw)

    prompts = draw.one("prompts", PROMPTS)
    default = draw.one("default prompt", [None, None, *prompts])
    config: dict[str, object] = {"prompts": prompts, "default_prompt_name": default}
    if (similarity := draw.one("similarity", [None, "cosine", "dot", "euclidean", "manhattan"])) is not None:
        config["similarity_fn_name"] = similarity
    _write(folder / "config_sentence_transformers.json", config)
    return Layout("embedder", folder, draw.says, prompts, default)


def _write_modules(folder: Path, home: Path, steps: Sequence[tuple[str, dict[str, object] | None]], draw: Drawing) -> None:
    listed = []
    for index, (name, config) in enumerate(steps):
        path = home.relative_to(folder).as_posix().removeprefix(".") if name == "Transformer" else f"{index}_{name}"
        listed.append({"idx": index, "name": str(index), "path": path, "type": f"{MODULES}{name}"})
        (folder / path).mkdir(exist_ok=True)
        if config is not None:
            _write(folder / path / "config.json", config)
        if name == "Dense":
            from safetensors.torch import save_file

            assert config is not None
            draws = torch.Generator().manual_seed(draw.rng.randrange(1 << 30))
            sizes = (int(str(config["out_features"])), int(str(config["in_features"])))
            weights = {"linear.weight": torch.randn(sizes, generator=draws) / 4, "linear.bias": torch.zeros(sizes[0])}
            save_file(weights, folder / path / "model.safetensors")
    _write(folder / "modules.json", listed)


# -- cross-encoders -----------------------------------------------------------------------------------------------------

INSTRUCTIONS: Final[Mapping[str, str]] = {
    "code": "Given a code question, find functions that answer it",
    "law": "Find statutes",
}


def cross_encoder(number: int, folder: Path, vocabularies: Vocabularies) -> Layout:
    """Write the folder of a cross-encoder."""
    draw = Drawing(number)
    name = draw.one("architecture", [each for each in ENCODERS if each not in LACKS_HEAD])
    folder.mkdir(parents=True)
    if name.startswith("Qwen") and draw.one("scored by a word", [True, False]):
        return _generative(name, folder, vocabularies, draw)
    kind = ENCODERS[name][0]
    options: dict[str, object] = {"num_labels": 1}
    if kind == "qwen" and draw.one("has a padding id", [True, False]):
        options["pad_token_id"] = qwen.FIRST_ADDED
    if name == "ModernBert":
        options["classifier_pooling"] = draw.one("classifier_pooling", ["cls", "mean"])
    model = _model(name, suffix="ForSequenceClassification", draw=draw, **options)
    _save(model, folder, getattr(vocabularies, kind), draw, name)
    if name == "Qwen3":  # without a base model it would be taken for a conversion of Qwen3-Reranker
        (folder / "README.md").write_text("---\nbase_model: Qwen/Qwen3-0.6B\n---\n")
    fields = json.loads((folder / "config.json").read_text())
    activation = draw.one("activation", [None, "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"])
    if activation is not None:
        _write(folder / "config.json", {**fields, "sentence_transformers": {"activation_fn": activation, "version": "5.0.0"}})
    return Layout("cross-encoder", folder, draw.says)


def _generative(name: str, folder: Path, vocabularies: Vocabularies, draw: Drawing) -> Layout:
    """Write a reranker that is scored by a word, as sentence-transformers 6 saves it."""
    _save(_model(name, suffix="ForCausalLM", draw=draw, pad_token_id=qwen.FIRST_ADDED), folder, vocabularies.qwen, draw, name)
    prefix = draw.one("template", ["", "", "Judge it.\n"])
    instruction = draw.one("instruction of the template", [*INSTRUCTIONS.values(), "Given a web search query, retrieve it"])
    template = reranker_template(instruction, prefix=prefix) if prefix else reranker_template(instruction)
    for path, content in template.items():
        (folder / path).write_bytes(content)
    prompts = draw.one("prompts", [{}, INSTRUCTIONS])
    default = draw.one("default prompt", [None, *prompts])
    _write(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "prompts": prompts, "default_prompt_name": default},
    )
    output = {"method": "forward", "method_output_name": "logits"}
    modality = {"text": output, "message": {**output, "format": "flat"}}
    _write(
        folder / "sentence_bert_config.json",
        {"transformer_task": "text-generation", "modality_config": modality, "module_output_name": "causal_logits"},
    )
    yes, no = draw.one("words", [(qwen.YES, qwen.NO), (16, 15)])
    steps: list[tuple[str, dict[str, object] | None]] = [
        ("Transformer", None),
        ("LogitScore", {"true_token_id": yes, "false_token_id": no, "module_input_name": "causal_logits"}),
    ]
    _write_modules(folder, folder, steps, draw)
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["type"] = "sentence_transformers.base.modules.transformer.Transformer"
    listed[1]["type"] = "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"
    _write(folder / "modules.json", listed)
    return Layout("cross-encoder", folder, draw.says, prompts, default)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))
