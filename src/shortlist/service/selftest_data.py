"""Built-in texts: pairs for the self-test, and calibration texts that select a dtype. Worded by Shortlist.

A pair is a small question with an undisputed answer: one right and one wrong document. The wrong one shares words with the
question, as even untrained weights match words. Calibration texts cover many scripts, from one token to more than a thousand;
their meaning does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shortlist.errors import CallerError, InvalidInput
from shortlist.text.encoder import Encoder
from shortlist.types import NO_TRUNCATION, Encoded, TokenPrompt, Truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestPair:
    """One question with a right and a wrong document.

    Attributes:
        name: Its topic, for messages.
        instruction: What counts as relevant; None means the model's default.
        truncation: Truncation of the documents, to check that a truncated one still scores.
    """

    name: str
    query: str
    right: str
    wrong: str
    instruction: str | None = None
    truncation: Truncation = NO_TRUNCATION


def _long(start: str, sentence: str, times: int) -> str:
    return " ".join([start, *(sentence.format(number) for number in range(1, times + 1))])


_STATION = "At hour {} the log of the lighthouse notes calm water, a light wind and no ship in sight."
_GARDEN = "In bed {} of the garden the beans were watered in the evening and the weeds were pulled."

PAIRS: Final = (
    SelfTestPair(
        name="everyday",
        query="how do I get red wine out of a carpet",
        right="Blot the red wine stain with a cloth, then rinse the carpet with cold water and a little vinegar.",
        wrong="The red carpet was rolled out and the guests were given a glass of wine.",
    ),
    SelfTestPair(
        name="fact",
        query="what is the boiling point of water at sea level",
        right="On the coast a kettle boils at 100 degrees Celsius.",
        wrong="At this point the water level of the sea has risen by twenty centimetres.",
    ),
    SelfTestPair(
        name="paraphrase",
        query="my laptop will not turn on",
        right="If the notebook computer does not start, hold the power button for ten seconds and check the charger.",
        wrong="My sister will not turn left on the bridge; turn on the lights, then go on.",
    ),
    SelfTestPair(
        name="health",
        query="side effects of drinking too much coffee",
        right="A lot of caffeine can cause a fast heartbeat, poor sleep and headaches.",
        wrong="Coffee is grown in more than fifty countries, most of it in Brazil.",
    ),
    SelfTestPair(
        name="chinese",
        query="怎样煮米饭才不会粘锅",
        right="煮饭前先把米淘洗干净，水和米的比例约为一比一点二，煮好后焖十分钟，米饭就不容易粘锅。",
        wrong="怎样才不会让胶水粘在手上？戴一副手套即可。",
    ),
    SelfTestPair(
        name="chinese fact",
        query="哪颗行星离太阳最近",
        right="水星是太阳系中距离太阳最近的行星。",
        wrong="离公司最近的那家超市夏天也卖太阳镜。",
    ),
    SelfTestPair(
        name="chinese to english",
        query="自行车轮胎漏气怎么修",
        right="To fix a flat bicycle tyre, take out the inner tube, find the hole, and glue a patch over it.",
        wrong="请把自行车停在楼下，不要放在门口。",
    ),
    SelfTestPair(
        name="english to chinese",
        query="how to take care of a cactus",
        right="仙人掌喜欢阳光，浇水不宜过多，冬天一个月浇一次水即可。",
        wrong="Take care of how the chairs are stacked when the meeting is over.",
    ),
    SelfTestPair(
        name="code",
        query="python function that counts how often each word occurs in a text",
        right="def word_counts(text):\n    counts = {}\n    for word in text.split():\n"
        "        counts[word] = counts.get(word, 0) + 1\n    return counts",
        wrong="The word python often occurs in a text about snakes, and each has its function.",
    ),
    SelfTestPair(
        name="error message",
        query="ModuleNotFoundError: No module named 'yaml'",
        right="The package is missing from the environment: pip install pyyaml, then import yaml again.",
        wrong="No module of the course on marine biology is named after a person.",
    ),
    SelfTestPair(
        name="instruction for animals",
        query="jaguar",
        instruction="Given the name of an animal, retrieve passages that describe how the animal lives",
        right="The jaguar hunts alone at night in the rain forest and swims well.",
        wrong="The new Jaguar has a quiet electric motor, leather seats and a large boot.",
    ),
    SelfTestPair(
        name="instruction for cars",
        query="jaguar",
        instruction="Given the name of a brand of cars, retrieve passages that describe its cars",
        right="The new Jaguar has a quiet electric motor, leather seats and a large boot.",
        wrong="The jaguar hunts alone at night in the rain forest and swims well.",
    ),
    SelfTestPair(
        name="long with an early answer",
        query="when was the old lighthouse built",
        right=_long("The old lighthouse was built in 1874 by order of the harbour.", _STATION, 8),
        wrong=_long("When the old wall was built, the tomatoes were moved.", _GARDEN, 1),
    ),
    SelfTestPair(
        name="long and cut",
        query="which vegetables are planted in May",
        right=_long("In the second week of May the tomatoes and the peppers are planted.", _GARDEN, 12),
        wrong=_long("Which ships pass the lighthouse in May is written in the log.", _STATION, 1),
        truncation=Truncation(max_tokens_per_doc=64),
    ),
)

_FIRST: Final = frozenset({"everyday", "fact", "chinese", "code", "instruction for animals", "instruction for cars"})

PAIRS_BY_PRIORITY: Final = tuple(sorted(PAIRS, key=lambda pair: pair.name not in _FIRST))
"""Pairs by priority, for a short self-test: English, Chinese, code and instructions first."""

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


def _encode(encoder: Encoder, texts: Sequence[str]) -> Sequence[Encoded]:
    """Encode texts as documents of pairs, or as texts to embed for an encoder that refuses pairs."""
    try:
        return encoder.encode_pairs(QUERY, texts)
    except InvalidInput:
        return encoder.encode_texts(texts)


def calibration_texts(encoder: Encoder) -> tuple[TokenPrompt, ...]:
    """Return the calibration texts as prompts; none if they exceed the token limit of the model."""
    short = [*SENTENCES, *(text for pair in PAIRS for text in (pair.right, pair.wrong))]
    texts = [*short, "\n".join(short)]
    try:
        encoded = _encode(encoder, texts)
    except CallerError:
        return ()
    return tuple(prompt for each in encoded for prompt in each.prompts if isinstance(prompt, TokenPrompt))
