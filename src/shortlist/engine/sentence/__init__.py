"""Any other cross-encoder or embedding model, through sentence-transformers."""

from shortlist.engine.sentence.engines import BiEncoderEngine, CrossEncoderEngine, SparseEncoderEngine, SparseHeadEngine

__all__ = ["BiEncoderEngine", "CrossEncoderEngine", "SparseEncoderEngine", "SparseHeadEngine"]
