"""Hugging Face's InferenceClient, of any major: it posts to exactly the URL it is given."""

from __future__ import annotations

from huggingface_hub import InferenceClient
from telling import DOCUMENTS, QUERY, TEXTS, Teller

tell = Teller("huggingface_hub", "huggingface-hub")
ours = tell.servers
client = InferenceClient(ours.open)
hosted = InferenceClient(ours.open, provider="hf-inference")

tell.vectors("feature_extraction, one text", lambda: client.feature_extraction(TEXTS[0]))
tell.vectors("feature_extraction, a list", lambda: client.feature_extraction(list(TEXTS)))
tell.vectors("feature_extraction, truncate", lambda: client.feature_extraction(TEXTS[0], normalize=True, truncate=True))
tell.vectors("feature_extraction, base_url", lambda: InferenceClient(base_url=ours.open).feature_extraction(list(TEXTS)))
tell.vectors("feature_extraction, at /embed", lambda: InferenceClient(f"{ours.open}/embed").feature_extraction(list(TEXTS)))
tell.scores("sentence_similarity", lambda: client.sentence_similarity(QUERY, list(DOCUMENTS)))
tell.value("health_check", hosted.health_check, True)
tell.value("get_endpoint_info", lambda: {"model_id", "model_type", "max_input_length"} <= set(hosted.get_endpoint_info()), True)

locked = InferenceClient(ours.locked, token=ours.key)
tell.vectors("feature_extraction, with a key", lambda: locked.feature_extraction(list(TEXTS)))
stranger = InferenceClient(ours.locked, token="wrong")
tell.refused("wrong key", lambda: stranger.feature_extraction(list(TEXTS)), "HfHubHTTPError", "401")
tell.refused("no texts", lambda: client.feature_extraction([]), "HfHubHTTPError", "at least one")
tell.refused("overload", lambda: InferenceClient(ours.busy).feature_extraction(list(TEXTS)), "HfHubHTTPError", "429")
