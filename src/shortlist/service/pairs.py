"""Small questions whose answer nobody disputes: for each a document that answers it, and one that does not.

Data only. The texts are our own and say nothing that a model could know by heart; the wrong document often shares the words
of the question, so that matching words is not enough. The self-test says what is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One question with a right and a wrong document.

    Attributes:
        name: What it is about, for people.
        instruction: What counts as relevant; None means the model's own default.
        max_tokens_per_doc: Cut the documents to this many tokens, to see that a cut one still scores.
    """

    name: str
    query: str
    right: str
    wrong: str
    instruction: str | None = None
    max_tokens_per_doc: int | None = None


def _long(start: str, sentence: str, times: int) -> str:
    return " ".join([start, *(sentence.format(number) for number in range(1, times + 1))])


_STATION = "At hour {} the log of the lighthouse notes calm water, a light wind and no ship in sight."
_GARDEN = "In bed {} of the garden the beans were watered in the evening and the weeds were pulled."

PAIRS: Final = (
    Pair(
        name="everyday",
        query="how do I get red wine out of a carpet",
        right="Blot the red wine stain with a cloth, then rinse the carpet with cold water and a little vinegar.",
        wrong="The red carpet was rolled out and the guests were given a glass of wine.",
    ),
    Pair(
        name="fact",
        query="what is the boiling point of water at sea level",
        right="At sea level water boils at 100 degrees Celsius.",
        wrong="The sea level has risen by about twenty centimetres in a hundred years.",
    ),
    Pair(
        name="paraphrase",
        query="my laptop will not turn on",
        right="If the notebook computer does not start, hold the power button for ten seconds and check the charger.",
        wrong="Turn left at the lights and go on until you see the station.",
    ),
    Pair(
        name="health",
        query="side effects of drinking too much coffee",
        right="A lot of caffeine can cause a fast heartbeat, poor sleep and headaches.",
        wrong="Coffee is grown in more than fifty countries, most of it in Brazil.",
    ),
    Pair(
        name="chinese",
        query="怎样煮米饭才不会粘锅",
        right="煮饭前先把米淘洗干净，水和米的比例约为一比一点二，煮好后焖十分钟，米饭就不容易粘锅。",
        wrong="这家公司去年在上海开设了三家新的分店，员工总数超过五百人。",
    ),
    Pair(
        name="chinese fact",
        query="哪颗行星离太阳最近",
        right="水星是太阳系中距离太阳最近的行星。",
        wrong="夏天出门要注意防晒，最好戴上帽子和太阳镜。",
    ),
    Pair(
        name="chinese to english",
        query="自行车轮胎漏气怎么修",
        right="To fix a flat bicycle tyre, take out the inner tube, find the hole, and glue a patch over it.",
        wrong="The train to the airport leaves every twenty minutes from platform four.",
    ),
    Pair(
        name="english to chinese",
        query="how to take care of a cactus",
        right="仙人掌喜欢阳光，浇水不宜过多，冬天一个月浇一次水即可。",
        wrong="会议改到下周三上午十点，请大家准时参加。",
    ),
    Pair(
        name="code",
        query="python function that counts how often each word occurs in a text",
        right="def word_counts(text):\n    counts = {}\n    for word in text.split():\n"
        "        counts[word] = counts.get(word, 0) + 1\n    return counts",
        wrong="def area(radius):\n    return 3.14159 * radius ** 2",
    ),
    Pair(
        name="error message",
        query="ModuleNotFoundError: No module named 'yaml'",
        right="The package is missing from the environment: pip install pyyaml, then import yaml again.",
        wrong="The module on marine biology is taught in the second year.",
    ),
    Pair(
        name="instruction, animal",
        query="jaguar",
        instruction="Given the name of an animal, retrieve passages that describe how the animal lives",
        right="The jaguar hunts alone at night in the rain forest and swims well.",
        wrong="The new Jaguar has a quiet electric motor, leather seats and a large boot.",
    ),
    Pair(
        name="instruction, car",
        query="jaguar",
        instruction="Given the name of a brand of cars, retrieve passages that describe its cars",
        right="The new Jaguar has a quiet electric motor, leather seats and a large boot.",
        wrong="The jaguar hunts alone at night in the rain forest and swims well.",
    ),
    Pair(
        name="long, answer at the start",
        query="when was the old lighthouse built",
        right=_long("The old lighthouse was built in 1874 by order of the harbour.", _STATION, 8),
        wrong=_long("The tomatoes were planted in the second week of May.", _GARDEN, 1),
    ),
    Pair(
        name="long, cut",
        query="which vegetables are planted in May",
        right=_long("In the second week of May the tomatoes and the peppers are planted.", _GARDEN, 12),
        wrong=_long("The old lighthouse has four floors and a stair of stone.", _STATION, 1),
        max_tokens_per_doc=64,
    ),
)
