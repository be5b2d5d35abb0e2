"""Looks at what is, and says what is wrong with it: at a model before it is served, at a server as its clients see it."""

from shortlist.doctor import client_check, model

__all__ = ["client_check", "model"]
