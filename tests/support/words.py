"""An encoder that counts words: tests can say how many tokens a text has by writing that many words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shortlist.errors import InputTooLong, InvalidInput
from shortlist.text.encoder import Parts, PromptView, TemplateIds
from shortlist.types import (
    NO_TRUNCATION,
    Encoded,
    InputType,
    OverflowPolicy,
    Prompt,
    PromptTemplate,
    Span,
    TextPrefix,
    TextPrompt,
    Token,
    Truncation,
)


class WordEncoder:
    """Implements `text.encoder.Encoder`. `seen` holds every text it was asked to encode."""

    template_ids: TemplateIds | None = None

    def __init__(self, max_model_len: int = 8192) -> None:
        self.max_model_len = max_model_len
        self.seen: list[str] = []

    @property
    def fingerprint(self) -> str:
        return f"words:{self.max_model_len}"

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        on_overflow: OverflowPolicy = OverflowPolicy.TRUNCATE,
        truncation: Truncation = NO_TRUNCATION,
        with_totals: bool = False,
    ) -> list[Encoded]:
        prefix = TextPrefix(f"{instruction or ''} {query}".strip(), len(query.split()) + len((instruction or "").split()))
        most = self.max_model_len - prefix.num_tokens
        limit = min(most, truncation.max_tokens_per_doc or most)
        if on_overflow is OverflowPolicy.CHUNK:
            return [self._windows(prefix, text, limit) for text in documents]
        may_cut = on_overflow is OverflowPolicy.TRUNCATE or limit < most
        return [self._cut(prefix, text, limit, may_cut, f"documents[{i}]") for i, text in enumerate(documents)]

    def encode_texts(
        self,
        texts: Sequence[str],
        *,
        input_type: InputType = InputType.UNSTATED,
        prompt_name: str | None = None,
        instruction: str | None = None,
        truncate: bool = True,
        truncate_prompt_tokens: int | None = None,
    ) -> list[Encoded]:
        words = (instruction or "query:") if input_type is InputType.QUERY or instruction else ""
        prefix = TextPrefix(words, len(words.split()))
        return [self._cut(prefix, text, self.max_model_len, truncate, f"input[{i}]") for i, text in enumerate(texts)]

    def template(self, instruction: str | None = None, preset: str | None = None) -> PromptTemplate:
        if preset not in {None, "short"}:
            raise InvalidInput("There is no such preset.", param="preset")
        name = "custom" if instruction else preset or "default"
        return PromptTemplate(name="words/1", preset=name, instruction=instruction or ("find" if preset else None))

    def tokens(self, texts: Sequence[str], *, with_special: bool = True) -> list[list[Token]]:
        """Return one token per word, its length as its id, and an end of id 0."""
        end = [Token(0, "<end>", is_special=True, span=None)] if with_special else []
        words = [[(match[0], Span(*match.span())) for match in re.finditer(r"\S+", text)] for text in texts]
        return [[*(Token(len(word), word, is_special=False, span=span) for word, span in each), *end] for each in words]

    def text_of(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        return " ".join("x" * number for number in ids if number or not skip_special)

    def strip_template(self, query: str, document: str) -> Parts | None:
        del query, document
        return None

    def view(self, shown: Prompt) -> PromptView:
        assert isinstance(shown, TextPrompt)
        return PromptView(text=f"{shown.prefix.text} | {shown.text}", parts={})

    def _cut(self, prefix: TextPrefix, text: str, most: int, truncate: bool, param: str) -> Encoded:
        self.seen.append(text)
        words = text.split()
        if len(words) > most and not truncate:
            raise InputTooLong(f"{param} has {len(words)} tokens; {most} fit.", param=param)
        prompt = TextPrompt(prefix, " ".join(words[:most]), min(len(words), most) + 1)
        is_cut = len(words) > most
        return Encoded(prompts=(prompt,), num_tokens=min(len(words), most), num_tokens_total=len(words), is_truncated=is_cut)

    def _windows(self, prefix: TextPrefix, text: str, most: int) -> Encoded:
        """Read words in windows that do not overlap."""
        words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
        groups = [words[start : start + most] for start in range(0, len(words), most)]
        spans = tuple(Span(group[0][0], group[-1][1]) for group in groups)
        prompts = tuple(TextPrompt(prefix, text[span.start : span.end], most + 1) for span in spans)
        return Encoded(prompts=prompts, spans=spans, num_tokens=len(words), num_tokens_total=len(words))
