"""Strings for fuzzing tokenizers: real sentences in many scripts, and pieces that sit badly next to each other."""

from __future__ import annotations

import random

SCRIPTS = {
    "latin": "Photosynthesis converts light into chemical energy; it's how plants feed themselves, we're told in 2024.",
    "chinese": "光合作用是植物利用光能将二氧化碳和水转化为有机物的过程。北京是中国的首都，人口约2189万！",
    "japanese": "東京は日本の首都であり、世界最大の都市圏です。カタカナとひらがなも「使います」。が ぱ",
    "korean": "서울은 대한민국의 수도이며 한강이 도시를 가로지른다. 인구는 약 940만 명이다.",
    "arabic": "القاهرة هي عاصمة جمهورية مصر العربية، ويبلغ عدد سكانها أكثر من ٢٠ مليون نسمة.",
    "hebrew": "ירושלים היא עיר הבירה של ישראל; בָּרוּךְ הַבָּא לכולם.",
    "hindi": "भारत की राजधानी नई दिल्ली है। क्या आपको हिंदी आती है?",
    "thai": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย มีประชากรกว่าสิบล้านคน",
    "russian": "Москва — столица России, город федерального значения; ёлка, подъезд.",
    "greek": "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας· ΐ και ς στο τέλος.",
    "georgian": "თბილისი საქართველოს დედაქალაქია და მდებარეობს მდინარე მტკვარზე.",
    "code": "def f(x):\n\treturn {'a': x**2, \"b\": [i for i in range(10)]}  # TO DO?\r\n\r\n    if x != 3:\n        pass\n",
}
AWKWARD = [
    "", " ", "  ", "   ", "\n", "\r\n", "\n\n", "\t", " \n ", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\ufeff", "\x00", "\x1c", "\x85",
    "'s", "'S", "'re", "'r", "'", "'ſ", "’s", "e\u0301", "\u0301", "\u0323\u0307", "\u0338", "<", ">", ":", "=\u0338", "\u1100", "\u1161", "\u11a8",
    "か\u3099", "ﬁ", "ß", "İ", "ſ", "Å", "\u212b", "1", "12", "½", "٣", "²", "Ⅷ", "a", "Z", "zz", "é", "中", "文字", "。", "，", "……", "—", "--", "...",
    "!", "?!", "//", "\\n", "{}", "[]", "🙂", "👩\u200d💻", "🇩🇪", "\U0001d54f", "\u0e33", "्", "العربية", "<|", "|>", "<|im", "im_end|>", "think>", "</",
    "Instruct: ", "\nQuery:", "<Query>:", "<Document>:", "<Instruct>: ", "\uffff", "\U0010ffff",
]  # fmt: skip


def awkward_text(draw: random.Random, *, most: int = 12) -> str:
    """A few awkward pieces, and sometimes a stretch of a real sentence, in any order."""
    pieces = []
    for _ in range(draw.randint(0, most)):
        if draw.random() < 0.2:
            sentence = draw.choice(list(SCRIPTS.values()))
            start = draw.randrange(len(sentence))
            pieces.append(sentence[start : start + draw.randint(1, 20)])
        else:
            pieces.append(draw.choice(AWKWARD) * draw.choice([1, 1, 1, 2, 5]))
    return "".join(pieces)
