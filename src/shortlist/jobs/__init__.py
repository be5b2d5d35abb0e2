"""Durable jobs: requests that are accepted at once, computed later, and survive the death of any process.

The record in Redis is the truth (`records`, `transitions`). A doorbell wakes workers and may lose a ring (`doorbell`). A worker
computes nothing itself: it takes a job, asks a Shortlist server over HTTP, and writes the answer into the record (`worker`).
"""
