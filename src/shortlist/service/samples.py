"""Texts by whose numbers an engine chooses what to compute in: many scripts, from one token to a thousand and more.

What they mean does not matter. The sentences are our own.
"""

from __future__ import annotations

from typing import Final

from shortlist.errors import CallerError
from shortlist.service.pairs import PAIRS
from shortlist.text.tokenizer import QwenEncoder
from shortlist.types import Task, TokenPrompt

QUERY: Final = "When does the ferry leave?"

SENTENCES: Final = (
    "Паром отходит от причала каждое утро в семь часов, если на реке нет льда.",
    "Το πλοίο φεύγει από το λιμάνι κάθε πρωί στις επτά, εκτός αν φυσάει πολύ.",
    "تغادر العبّارة الرصيف كل صباح في الساعة السابعة إلا إذا كان البحر هائجًا.",
    "המעבורת יוצאת מהרציף בכל בוקר בשבע, אלא אם כן הים סוער.",
    "नाव हर सुबह सात बजे घाट से चलती है, जब तक नदी में बाढ़ न हो।",
    "เรือข้ามฟากออกจากท่าทุกเช้าเวลาเจ็ดโมง ถ้าไม่มีพายุ",
    "渡し船は、川が荒れていなければ、毎朝七時に桟橋を出ます。",
    "나룻배는 강물이 불지 않으면 매일 아침 일곱 시에 나루터를 떠난다.",
    "Die Fähre legt jeden Morgen um sieben Uhr ab; außer bei Eisgang, versteht sich.",
    "7:00, 7:45, 8:30 (€ 3.50) -> https://example.org/ferry?day=1&from=pier#times ⛴️🌊🙂",
    '| day | first | last |\n| --- | --- | --- |\n| Mon | 07:00 | 21:30 |\n\n\n\t\t{"ferry": [null, -1e-9, "\\u00e9"]}',
    "ferry " * 40,
    "\n" * 40,
    "a",
    "",
)


def samples(encoder: QwenEncoder) -> tuple[TokenPrompt, ...]:
    """Return the texts as prompts for a model; none, if it reads too little for them."""
    short = [*SENTENCES, *(text for pair in PAIRS for text in (pair.right, pair.wrong))]
    texts = [*short, "\n".join(short)]
    try:
        found = encoder.encode_pairs(QUERY, texts) if encoder.task is Task.RERANK else encoder.encode_texts(texts)
    except CallerError:
        return ()
    return tuple(prompt for each in found for prompt in each.prompts if isinstance(prompt, TokenPrompt))
