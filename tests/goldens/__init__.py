"""Goldens: what the server answers to recorded requests, and how model folders are detected.

`python -m tests.goldens` records everything again; `git diff tests/goldens/recorded` shows what changed for clients. To add a
case, write the request under `=== NAME` into a transcript, without an answer, and run the command.
"""
