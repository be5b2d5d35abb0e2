"""Bodies of requests and answers, without logic: the server, the client and the page share them.

Answers are typed dictionaries: they cost nothing to build and to encode, mypy checks what dialects return, and pydantic
generates OpenAPI from them and validates them in the client.
"""
