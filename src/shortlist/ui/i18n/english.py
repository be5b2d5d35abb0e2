"""The page's texts in English, one field each; other languages replace all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """The page's texts in one language. Callers fill the placeholders in braces.

    Attributes:
        lang: The language, as HTML names it.
        presets: Titles of the server's instruction presets.
        job_statuses: Statuses of jobs and batches, by their names in the API.
        job_webhooks: Statuses of webhooks, by their names in the API.
    """

    lang: str = "en"
    tagline: str = "Many candidates in, the right few out."
    switch_language: str = "Language"
    rerank_tab: str = "Rerank"
    compare_tab: str = "Compare"
    embed_tab: str = "Embed"
    status_tab: str = "Status"
    jobs_tab: str = "Jobs"
    # forms
    query: str = "Query"
    query_hint: str = "What are you looking for?"
    documents: str = "Documents"
    documents_hint: str = "One document per line"
    preset: str = "Instruction"
    model_default: str = "Model’s default"
    presets: Mapping[str, str] = field(
        default_factory=lambda: {
            "web-search": "Web search",
            "question-answering": "Answer a question",
            "fact-check": "Check a claim",
            "duplicate-question": "Same question",
            "code-search": "Find code",
            "customer-support": "Customer support",
            "scientific-paper": "Scientific papers",
            "legal": "Law",
        }
    )
    instruction: str = "… or in your own words"
    instruction_hint: str = "Given a …, find …"
    model: str = "Model"
    top_n: str = "At most"
    top_n_hint: str = "all"
    overflow: str = "Long documents"
    overflow_chunk: str = "Best passage"
    overflow_truncate: str = "Cut the end"
    rank: str = "Rank"
    cancel: str = "Cancel"
    keys: str = "Enter in the query ranks; in the documents, Shift + Enter."
    examples: str = "Try"
    # files
    open_file: str = "Open a file"
    open_file_hint: str = "txt, csv, jsonl, md"
    type_instead: str = "Type instead"
    column: str = "Column"
    file_documents: str = "{total} documents"
    file_groups: str = "{groups} queries with {total} documents"
    file_too_large: str = "This file is larger than {limit} MiB. Use the command line for large files: shortlist rerank."
    file_empty: str = "There is no document in this file."
    file_unknown: str = "Open a txt, csv, jsonl or md file."
    file_no_json: str = "Line {line} of the file is not JSON."
    file_mixed: str = "Line {line} of the file is unlike the first: use texts, objects, or objects with query and documents."
    file_bad_group: str = "Line {line} of the file needs a query (a text) and documents (a list of texts)."
    # progress
    ranking_now: str = "Ranking {total} documents …"
    ranking_groups: str = "Ranked {done} of {groups} queries …"
    comparing_now: str = "Comparing {total} documents …"
    embedding_now: str = "Embedding {total} texts …"
    stopped: str = "Cancelled."
    waiting: str = "The server is busy; continuing in {seconds} s …"
    # rankings
    result: str = "Ranking"
    nothing_yet: str = "Nothing ranked yet"
    nothing_yet_hint: str = "Enter a query and a few documents, or start from an example."
    rank_column: str = "Rank"
    document_column: str = "Document"
    score_column: str = "Score"
    moved_column: str = "Change against input order"
    raw_column: str = "Raw score"
    best_of: str = "Best {shown} of {total} documents"
    num_documents: str = "{total} documents"
    num_groups: str = "{groups} queries"
    num_tokens: str = "{count} tokens"
    num_cached: str = "{count} of {total} from the cache"
    total_time: str = "{ms} ms"
    tokenize_time: str = "tokenise {ms} ms"
    queue_time: str = "wait {ms} ms"
    compute_time: str = "compute {ms} ms"
    moved_up: str = "up {count} from line {line}"
    moved_down: str = "down {count} from line {line}"
    not_moved: str = "same place as in the input"
    show_all: str = "Show all"
    show_less: str = "Show less"
    truncated: str = "cut"
    truncated_hint: str = "Too long for the model: only the beginning was scored."
    best_passage: str = "best of {count} passages"
    best_passage_hint: str = "Too long to be scored at once: the score is that of the marked passage."
    failed: str = "Could not be scored"
    failed_mark: str = "Line {line}"
    only_shown: str = "The first {shown} are shown; the downloads hold all {total}."
    show_raw: str = "Raw scores"
    raw_hint: str = "Log-odds before they are squeezed into 0 to 1; of an embedding model, the cosine."
    download: str = "Download"
    same_request: str = "The same in curl and Python"
    same_request_file: str = "The request is too long to be shown here; save it first:"
    copy: str = "Copy"
    copied: str = "Copied"
    # comparing
    compare: str = "Compare"
    side_a: str = "Left"
    side_b: str = "Right"
    query_b_hint: str = "as on the left"
    as_left: str = "As on the left"
    compare_empty: str = "Two rankings, side by side"
    compare_empty_hint: str = "Another model, another instruction, or the query in other words: see what it moves."
    compare_caption: str = "Places of the documents in both rankings"
    compare_left_column: str = "Place on the left"
    compare_right_column: str = "Place on the right"
    compare_same: str = "Both rankings have the same order."
    compare_moves: str = "{moved} of {total} documents change their place; the farthest by {most}."
    compare_top: str = "The best document is another one."
    absent: str = "not in this ranking"
    # embedding
    embed: str = "Embed"
    texts: str = "Texts"
    texts_hint: str = "One text per line"
    read_as: str = "Embed as"
    read_as_documents: str = "Documents"
    read_as_queries: str = "Queries"
    embed_empty: str = "How alike are they?"
    embed_empty_hint: str = "Enter a few texts to see the cosine of every pair."
    embed_caption: str = "Cosine similarity of every pair of texts"
    num_texts: str = "{total} texts"
    num_dimensions: str = "{count} dimensions"
    closest: str = "Closest pair: {left} and {right}, {score}"
    # jobs
    jobs_wait: str = "Looking for jobs …"
    jobs_wait_hint: str = "They are listed as soon as the server has answered."
    jobs_empty: str = "No jobs yet"
    jobs_empty_hint: str = (
        "Send a request with the header “Prefer: respond-async”: the server accepts it at once, and lists it here until its "
        "result expires."
    )
    job_list: str = "Jobs and batches"
    jobs_open: str = "{count} open"
    jobs_ended: str = "{count} ended"
    job_statuses: Mapping[str, str] = field(
        default_factory=lambda: {
            "queued": "Waiting",
            "running": "Running",
            "succeeded": "Done",
            "failed": "Failed",
            "cancelled": "Cancelled",
            "expired": "Expired",
            "validating": "Checking",
            "in_progress": "Running",
            "finalizing": "Finishing",
            "completed": "Done",
            "cancelling": "Cancelling",
        }
    )
    job_webhooks: Mapping[str, str] = field(
        default_factory=lambda: {
            "waiting": "webhook not delivered yet",
            "delivered": "webhook delivered",
            "failed": "webhook failed: {reason}",
        }
    )
    job_age: str = "accepted {age} ago"
    job_took: str = "took {time}"
    job_attempt: str = "attempt {count}"
    job_lines: str = "{done} of {total} requests"
    job_failed_lines: str = "{count} failed"
    job_cancel: str = "Cancel"
    job_confirm: str = "Cancel this, and remove its texts from the server?"
    job_result: str = "Result"
    job_close: str = "Close"
    batch_result: str = "This command writes the results of all requests into a file:"
    under_a_minute: str = "less than a minute"
    seconds: str = "{count} s"
    minutes: str = "{count} min"
    hours: str = "{count} h"
    days: str = "{count} d"
    # server status
    status_wait: str = "Measuring …"
    status_empty_hint: str = "Numbers appear as soon as two samples are there."
    status_caption: str = "The server now"
    per_second: str = "Requests per second"
    latency: str = "Latency"
    latency_hint: str = "milliseconds, 95 of 100 requests are faster"
    queue: str = "Queue"
    queue_hint: str = "documents and texts that wait"
    hit_rate: str = "Cache hits"
    hit_rate_hint: str = "percent of cache lookups"
    memory: str = "Memory"
    memory_process: str = "of the process, in MiB"
    memory_cache: str = "of the cache, in MiB"
    tokens_per_second: str = "Tokens per second"
    requests_hint: str = "compute requests that were answered"
    tokens_hint: str = "computed, without cache hits"
    no_data: str = "no requests"
    is_ready: str = "Ready"
    is_not_ready: str = "Not ready"
    plot_summary: str = "{title}: now {now}, between {low} and {high} in the last {seconds} seconds"
    window: str = "last {seconds} s"
    # errors
    no_query: str = "Enter a query first: the documents are ranked by how well they answer it."
    no_documents: str = "Enter at least one document, one per line."
    no_texts: str = "Enter at least two texts, one per line."
    too_many_texts: str = "A map of more than {limit} texts cannot be read. Enter fewer."
    bad_top_n: str = "“At most” must be a whole number of at least 1, or empty for all."
    overloaded: str = "The server is busy. Try again in {seconds} s."
    too_slow: str = "The server did not finish in time. Try fewer or shorter documents."
    not_ready: str = "The server is still starting or is about to stop. Try again in a moment."
    unavailable: str = "The model is not available at the moment. Try again later, or ask the administrator of this server."
    no_key: str = "This server needs an API key, and the key was missing or wrong."
    not_found: str = "The server does not offer this."
    too_large: str = "That is more text than the server takes at once. Try fewer or shorter documents."
    too_long: str = "The query and the instruction leave no space for a document. Make them shorter."
    no_instruction: str = "This model takes no instruction. Leave it at the model’s default, or choose a model that takes one."
    refused: str = "The server did not accept this request."
    broken: str = "Something went wrong on the server’s side."
    nothing_to_compare: str = "Both sides are the same. Choose another model or instruction, or another query, on the right."


ENGLISH: Final = Messages()
