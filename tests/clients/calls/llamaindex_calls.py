"""LlamaIndex's node postprocessors and embeddings."""

from __future__ import annotations

import dashscope
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.embeddings.cohere import CohereEmbedding
from llama_index.embeddings.nvidia import NVIDIAEmbedding
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.dashscope_rerank import DashScopeRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.xinference_rerank import XinferenceRerank
from telling import DOCUMENTS, MODEL, QUERY, TEXTS, UNKNOWN, Item, Teller, by_text

PREFIX = "llama-index-postprocessor"
ours = Teller("", "pip").servers
texts = list(TEXTS)


def teller(package: str) -> Teller:
    return Teller(package, package, ours)


def ranked(postprocessor: BaseNodePostprocessor) -> list[Item]:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in DOCUMENTS]
    found = postprocessor.postprocess_nodes(nodes, query_bundle=QueryBundle(QUERY))
    return by_text((each.node.get_content(), each.score) for each in found)


tell = teller(f"{PREFIX}-tei-rerank")
tell.ranking("TextEmbeddingInference", lambda: ranked(TextEmbeddingInference(base_url=ours.open)))
tell.ranking("TextEmbeddingInference, top_n=2", lambda: ranked(TextEmbeddingInference(base_url=ours.open, top_n=2)), of=2)
tell.ranking(
    "TextEmbeddingInference, with a key", lambda: ranked(TextEmbeddingInference(base_url=ours.locked, auth_token=ours.key))
)
tell.refused("wrong key", lambda: ranked(TextEmbeddingInference(base_url=ours.locked, auth_token="wrong")), "AssertionError")

tell = teller(f"{PREFIX}-cohere-rerank")


def cohere(url: str = ours.open, key: str = "none", model: str = MODEL) -> CohereRerank:
    return CohereRerank(base_url=url, api_key=key, model=model, top_n=3)


tell.ranking("CohereRerank", lambda: ranked(cohere()))
tell.ranking("CohereRerank, with a key", lambda: ranked(cohere(ours.locked, ours.key)))
tell.refused("unknown model", lambda: ranked(cohere(model=UNKNOWN)), "NotFoundError")
tell.refused("wrong key", lambda: ranked(cohere(ours.locked, "wrong")), "UnauthorizedError")

tell = teller(f"{PREFIX}-jinaai-rerank")


def jina(url: str = ours.open, key: str = "none", model: str = MODEL) -> JinaRerank:
    return JinaRerank(base_url=f"{url}/v1", api_key=key, model=model, top_n=3)


tell.ranking("JinaRerank", lambda: ranked(jina()))
tell.ranking("JinaRerank, with a key", lambda: ranked(jina(ours.locked, ours.key)))
tell.refused("unknown model", lambda: ranked(jina(model=UNKNOWN)), "RuntimeError")
tell.refused("wrong key", lambda: ranked(jina(ours.locked, "wrong")), "RuntimeError", "key")
tell.refused("overload", lambda: ranked(jina(ours.busy)), "RuntimeError", "busy")

tell = teller(f"{PREFIX}-xinference-rerank")
tell.ranking("XinferenceRerank", lambda: ranked(XinferenceRerank(base_url=ours.open, model=MODEL, top_n=3)))
tell.refused("unknown model", lambda: ranked(XinferenceRerank(base_url=ours.open, model=UNKNOWN, top_n=3)), "Exception", "404")

tell = teller(f"{PREFIX}-siliconflow-rerank")
tell.ranking(
    "SiliconFlowRerank", lambda: ranked(SiliconFlowRerank(base_url=f"{ours.open}/v1/rerank", api_key="none", model=MODEL))
)
tell.ranking(
    "SiliconFlowRerank, with a key",
    lambda: ranked(SiliconFlowRerank(base_url=f"{ours.locked}/v1/rerank", api_key=ours.key, model=MODEL)),
)
tell.refused(
    "wrong key",
    lambda: ranked(SiliconFlowRerank(base_url=f"{ours.locked}/v1/rerank", api_key="wrong", model=MODEL)),
    "RuntimeError",
    "key",
)

tell = teller(f"{PREFIX}-dashscope-rerank")
dashscope.base_http_api_url = f"{ours.open}/api/v1"
tell.ranking("DashScopeRerank", lambda: ranked(DashScopeRerank(model=MODEL, api_key="none")))

tell = teller(f"{PREFIX}-nvidia-rerank")
tell.logits("NVIDIARerank", lambda: ranked(NVIDIARerank(model=MODEL, base_url=f"{ours.open}/v1", api_key="none")))
tell.logits(
    "NVIDIARerank, with a key", lambda: ranked(NVIDIARerank(model=MODEL, base_url=f"{ours.locked}/v1", api_key=ours.key))
)
tell.refused(
    "wrong key",
    lambda: ranked(NVIDIARerank(model=MODEL, base_url=f"{ours.locked}/v1", api_key="wrong")),
    "HTTPStatusError",
    "401",
)

tell = teller("llama-index-embeddings-text-embeddings-inference")


def tei(url: str = ours.open, **how: object) -> TextEmbeddingsInference:
    plain = {"text_instruction": "", "query_instruction": ""}
    return TextEmbeddingsInference(model_name=MODEL, base_url=url, **plain, **how)


tell.vectors("TextEmbeddingsInference", lambda: tei().get_text_embedding_batch(texts))
tell.vectors(
    "TextEmbeddingsInference, with a key", lambda: tei(ours.locked, auth_token=ours.key).get_text_embedding_batch(texts)
)

tell = teller("llama-index-embeddings-openai-like")


def openai(url: str = ours.open, key: str = "none", model: str = MODEL) -> OpenAILikeEmbedding:
    return OpenAILikeEmbedding(model_name=model, api_base=f"{url}/v1", api_key=key, max_retries=0)


tell.vectors("OpenAILikeEmbedding", lambda: openai().get_text_embedding_batch(texts))
tell.vectors("OpenAILikeEmbedding, with a key", lambda: openai(ours.locked, ours.key).get_text_embedding_batch(texts))
tell.refused("unknown model", lambda: openai(model=UNKNOWN).get_text_embedding_batch(texts), "NotFoundError")
tell.refused("wrong key", lambda: openai(ours.locked, "wrong").get_text_embedding_batch(texts), "AuthenticationError")

tell = teller("llama-index-embeddings-ollama")


def ollama(url: str = ours.open, key: str = "none", model: str = MODEL) -> OllamaEmbedding:
    return OllamaEmbedding(model, url, client_kwargs={"headers": {"Authorization": f"Bearer {key}"}})


tell.vectors("OllamaEmbedding", lambda: ollama().get_text_embedding_batch(texts))
tell.vectors("OllamaEmbedding, MODEL:latest", lambda: ollama(model=f"{MODEL}:latest").get_text_embedding_batch(texts))
tell.vectors("OllamaEmbedding, with a key", lambda: ollama(ours.locked, ours.key).get_text_embedding_batch(texts))
tell.refused("unknown model", lambda: ollama(model=UNKNOWN).get_text_embedding_batch(texts), "ResponseError", "404")
tell.refused("wrong key", lambda: ollama(ours.locked, "wrong").get_text_embedding_batch(texts), "ResponseError", "401")

tell = teller("llama-index-embeddings-cohere")


def embedder_of_cohere(url: str = ours.open, key: str = "none", **how: object) -> CohereEmbedding:
    return CohereEmbedding(base_url=url, api_key=key, max_retries=0, **how)


tell.vectors("CohereEmbedding, an alias", lambda: embedder_of_cohere().get_text_embedding_batch(texts))
tell.vectors("CohereEmbedding, with a key", lambda: embedder_of_cohere(ours.locked, ours.key).get_text_embedding_batch(texts))
tell.refused(
    "CohereEmbedding, embedding_type=int8",
    lambda: embedder_of_cohere(embedding_type="int8").get_text_embedding_batch(texts),
    "BadRequestError",
)
tell.refused(
    "CohereEmbedding, truncate=NONE on a long text",
    lambda: embedder_of_cohere(truncate="NONE").get_text_embedding("word " * 20000),
    "BadRequestError",
)
tell.refused("wrong key", lambda: embedder_of_cohere(ours.locked, "wrong").get_text_embedding_batch(texts), "UnauthorizedError")

tell = teller("llama-index-embeddings-nvidia")


def embedder_of_nvidia(url: str = ours.open, key: str = "none", **how: object) -> NVIDIAEmbedding:
    return NVIDIAEmbedding(base_url=f"{url}/v1", api_key=key, max_retries=0, **how)


tell.vectors("NVIDIAEmbedding", lambda: embedder_of_nvidia(model=MODEL).get_text_embedding_batch(texts))
tell.vectors("NVIDIAEmbedding, no model", lambda: embedder_of_nvidia().get_text_embedding_batch(texts))
tell.vectors("NVIDIAEmbedding, with a key", lambda: embedder_of_nvidia(ours.locked, ours.key).get_text_embedding_batch(texts))
tell.refused(
    "NVIDIAEmbedding, truncate=NONE on a long text",
    lambda: embedder_of_nvidia(model=MODEL, truncate="NONE").get_text_embedding("word " * 20000),
    "BadRequestError",
)
tell.refused("unknown model", lambda: embedder_of_nvidia(model=UNKNOWN).get_text_embedding_batch(texts), "NotFoundError")
tell.refused("wrong key", lambda: embedder_of_nvidia(ours.locked, "wrong"), "AuthenticationError")
