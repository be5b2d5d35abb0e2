"""What the page can say, as names: one field per sentence, filled in once per language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The page in one language. Braces are filled in where the sentence is used.

    Attributes:
        lang: The language, as HTML names it.
        presets: What the server's instruction presets are called.
    """

    lang: str
    tagline: str
    switch_language: str
    rerank_tab: str
    compare_tab: str
    embed_tab: str
    status_tab: str
    # forms
    query: str
    query_hint: str
    documents: str
    documents_hint: str
    preset: str
    model_default: str
    presets: Mapping[str, str]
    instruction: str
    instruction_hint: str
    model: str
    top_n: str
    top_n_hint: str
    overflow: str
    overflow_chunk: str
    overflow_truncate: str
    rank: str
    cancel: str
    keys: str
    examples: str
    # files
    open_file: str
    open_file_hint: str
    type_instead: str
    column: str
    file_documents: str
    file_groups: str
    file_too_large: str
    file_empty: str
    file_unknown: str
    file_no_json: str
    file_mixed: str
    file_bad_group: str
    # what is going on
    ranking_now: str
    ranking_groups: str
    comparing_now: str
    embedding_now: str
    stopped: str
    waiting: str
    # rankings
    result: str
    nothing_yet: str
    nothing_yet_hint: str
    rank_column: str
    document_column: str
    score_column: str
    moved_column: str
    raw_column: str
    best_of: str
    num_documents: str
    num_groups: str
    num_tokens: str
    num_cached: str
    total_time: str
    tokenize_time: str
    queue_time: str
    compute_time: str
    moved_up: str
    moved_down: str
    not_moved: str
    show_all: str
    show_less: str
    truncated: str
    truncated_hint: str
    best_passage: str
    best_passage_hint: str
    failed: str
    failed_mark: str
    only_shown: str
    show_raw: str
    raw_hint: str
    download: str
    same_request: str
    same_request_file: str
    copy: str
    copied: str
    # comparing
    compare: str
    side_a: str
    side_b: str
    query_b_hint: str
    as_left: str
    compare_empty: str
    compare_empty_hint: str
    compare_caption: str
    compare_left_column: str
    compare_right_column: str
    compare_same: str
    compare_moves: str
    compare_top: str
    absent: str
    # embedding
    embed: str
    texts: str
    texts_hint: str
    read_as: str
    read_as_documents: str
    read_as_queries: str
    embed_empty: str
    embed_empty_hint: str
    embed_caption: str
    num_texts: str
    num_dimensions: str
    closest: str
    # the server's state
    status_wait: str
    status_empty_hint: str
    status_caption: str
    per_second: str
    latency: str
    latency_hint: str
    queue: str
    queue_hint: str
    hit_rate: str
    hit_rate_hint: str
    memory: str
    memory_process: str
    memory_cache: str
    tokens_per_second: str
    requests_hint: str
    tokens_hint: str
    no_data: str
    is_ready: str
    is_not_ready: str
    plot_summary: str
    window: str
    # errors
    no_query: str
    no_documents: str
    no_texts: str
    too_many_texts: str
    bad_top_n: str
    overloaded: str
    too_slow: str
    not_ready: str
    unavailable: str
    no_key: str
    not_found: str
    too_large: str
    too_long: str
    no_instruction: str
    refused: str
    broken: str
    nothing_to_compare: str
