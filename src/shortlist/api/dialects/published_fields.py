"""Fields that servers publish and that change nothing here: refused where a client would notice, noted where not.

Every other published field is one of a request model. tests/api/fields.yaml lists all of them, and docs/fields.md shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shortlist.errors import InvalidInput

NOTHING: Final[tuple[object, ...]] = (None, "", [], {})
"""Values that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A field that no model here can follow.

    Attributes:
        reason: Why not.
        accepted: Values that ask for what is done anyway.
    """

    reason: str
    accepted: tuple[object, ...] = ()

    def check(self, name: str, value: object) -> None:
        """Check a value.

        Raises:
            InvalidInput: it asks for something else.
        """
        if any(value == each and isinstance(value, type(each)) for each in (*NOTHING, *self.accepted)):
            return
        allowed = " or ".join(str(each).lower() if isinstance(each, bool) else str(each) for each in self.accepted)
        raise InvalidInput(f"{name} must be {allowed or 'absent'}: {self.reason}.", param=name)


UnsupportedFields = Mapping[str, Unsupported]
"""Unsupported fields by name."""


def check_unsupported(fields: UnsupportedFields, body: Mapping[str, object]) -> None:
    """Check the unsupported fields of a body.

    Raises:
        InvalidInput: one of them asks for what is not done.
    """
    for name in fields.keys() & body.keys():
        fields[name].check(name, body[name])


_CHAT: Final = Unsupported("chat messages are not read here; send texts (a query and documents, prompt or input)")
_TEMPLATE: Final = Unsupported("prompts have the model's own template")

MESSAGES: Final = {
    "messages": _CHAT,
    "chat_template": _TEMPLATE,
    "add_generation_prompt": Unsupported("there are no chat messages", (False,)),
    "continue_final_message": Unsupported("there are no chat messages", (False,)),
}
"""Chat messages in place of texts. Source: vllm 0.33.0, `entrypoints/pooling`, chat requests."""

SPECIAL_TOKENS: Final = {
    "add_special_tokens": Unsupported("models read the special tokens that they were trained with", (True,))
}

POOLING: Final = {**MESSAGES, **SPECIAL_TOKENS}
"""What vLLM's requests to pooling models have."""

RERANK: Final = {
    **POOLING,
    "relevant_spans": Unsupported("rerankers score whole documents"),
    "return_embeddings": Unsupported("rankings carry no vectors; /v1/embeddings makes them", (False,)),
    "return_multivector": Unsupported("rankings carry no vectors; /v1/embeddings makes them", (False,)),
    "kwargs": Unsupported("the options of a model are fields of their own", ("{}",)),
}
"""Of Cohere, Jina, vLLM and Xinference."""

VECTORS: Final = {
    **POOLING,
    "embed_dtype": Unsupported("vectors are float32", ("float32", "float")),
    "endianness": Unsupported("bytes are little-endian", ("native", "little")),
    "late_chunking": Unsupported("every text is embedded by itself", (False,)),
    "return_multivector": Unsupported("there is one vector for every text", (False,)),
    "modality": Unsupported("only texts are embedded", ("text",)),
    "images": Unsupported("no model here embeds images"),
    "output_type": Unsupported("vectors are dense; /embed_sparse makes sparse ones", ("dense",)),
}
"""Of vLLM, Jina, Infinity, NVIDIA and DashScope."""

NOTED: Final = frozenset({"user", "priority", "request_id", "padding", "cache_salt", "mm_processor_kwargs", "metadata"})
"""What a client says about itself or about how to compute; texts and results are the same.

Sources: OpenAI, vLLM, Cohere, Mistral.
"""

NOTED_RERANK: Final = NOTED | {"max_chunks_per_doc", "overlap_tokens", "return_len"}
"""A document is read up to the model's length whatever these say, and `usage` always has the tokens.

Sources: Cohere, SiliconFlow, Xinference.
"""
