"""Diagnoses a model before it is served, and a server as its clients see it."""

from shortlist.doctor import client_check, model

__all__ = ["client_check", "model"]
