"""Files and batches of OpenAI's API, on durable jobs.

A batch is one parent record. Ranges of lines of its input are jobs, which a worker sends to any server; the server runs them.
"""
