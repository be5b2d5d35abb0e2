"""The frozen values that cross the walls between rooms.

This package knows what travels and what it is called. It knows nothing of HTTP, tokenizers, queues or tensors.
"""

from shortlist.types.answered import (
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
from shortlist.types.asked import (
    NO_CUTS,
    Cuts,
    DetokenizeTask,
    EmbedTask,
    Overflow,
    Priority,
    RerankTask,
    ScoreTask,
    Task,
    Terms,
    TokenizeTask,
)
from shortlist.types.work import (
    Batch,
    Encoded,
    Framing,
    Ids,
    Outcome,
    Prompt,
    Reading,
    Span,
    TextHead,
    TextPrompt,
    TokenHead,
    TokenPrompt,
    Value,
    Vector,
    WorkItem,
)
