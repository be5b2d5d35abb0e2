"""Every other cross-encoder and embedding model, which sentence-transformers loads."""

from shortlist.models.sentence.detection import detect

__all__ = ["detect"]
