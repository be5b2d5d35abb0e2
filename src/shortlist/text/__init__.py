"""Prompt templates, exact and safe tokenization, truncation."""
