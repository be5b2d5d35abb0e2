"""The frozen values that packages exchange.

This package knows what travels and what it is called. It knows nothing of HTTP, tokenizers, queues or tensors.
"""

from shortlist.types.outcomes import (
    DetokenizeOutcome,
    EmbedOutcome,
    Explained,
    Explanation,
    Failed,
    ModelCard,
    Ranked,
    RerankOutcome,
    Scored,
    ScoreOutcome,
    Timing,
    Token,
    TokenizeOutcome,
    Usage,
    basename,
)
from shortlist.types.tasks import (
    NO_TRUNCATION,
    DetokenizeTask,
    EmbedTask,
    OverflowPolicy,
    Priority,
    RequestOptions,
    RerankTask,
    ScoreTask,
    Task,
    TokenizeTask,
    Truncation,
)
from shortlist.types.work import (
    Batch,
    DocumentStats,
    Encoded,
    Ids,
    Outcome,
    Prompt,
    PromptTemplate,
    Span,
    TextPrefix,
    TextPrompt,
    TokenPrefix,
    TokenPrompt,
    Value,
    Vector,
    WorkItem,
)
