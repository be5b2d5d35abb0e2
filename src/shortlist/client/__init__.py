"""The typed HTTP client: rank and embed from a program.

    from shortlist.client import Client

    with Client("http://localhost:8080") as client:
        ranking = client.rerank("how do I reset my password?", ["Open settings ...", "Our office hours ..."])
        ranking.results[0].text
        for done in client.rerank_many(requests, concurrency=8, progress=True):
            done.ranking.results[0].score
        job = client.submit(RerankRequest(query="...", documents=[...]))  # servers with --jobs
        client.wait(job).results[0].score

It uses HTTP only, and raises the same errors as the server.
"""

from shortlist.client.api_client import DEFAULT_TIMEOUT_S, DEFAULT_URL, AsyncClient, Client
from shortlist.client.job_calls import SubmittedJob
from shortlist.client.job_events import JobUpdate
from shortlist.client.results import (
    Embedded,
    Embeddings,
    EmbedRequest,
    ModelEntry,
    NotRanked,
    RankedText,
    RankEntry,
    Ranking,
    Reranked,
    RerankRequest,
    TimingMs,
)

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "DEFAULT_URL",
    "AsyncClient",
    "Client",
    "EmbedRequest",
    "Embedded",
    "Embeddings",
    "JobUpdate",
    "ModelEntry",
    "NotRanked",
    "RankEntry",
    "RankedText",
    "Ranking",
    "RerankRequest",
    "Reranked",
    "SubmittedJob",
    "TimingMs",
]
