"""Which files of a published model are worth fetching: first the small ones that say what it is, then the weights.

Shell patterns, in the subset that both hubs read alike: ModelScope takes a dot before a star for a regular expression.
"""

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "README.md")
"""Settings, tokenizers, module settings (`1_Pooling/config.json`), the card."""

WEIGHT_FILES = ("*.safetensors",)

NEVER = ("onnx/*", "openvino/*", "coreml/*", "gguf/*", "original/*", "runs/*", "checkpoint-*", ".ipynb_checkpoints/*")
"""Copies of the model for other programs, and leftovers of its training."""
