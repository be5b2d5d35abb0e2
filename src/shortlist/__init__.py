"""Shortlist: a server that turns a long list of candidates into a short one."""

__version__ = "0.1.0"
