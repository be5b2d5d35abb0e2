"""Texts to token ids: prompt templates, exact and safe tokenization, truncation."""
