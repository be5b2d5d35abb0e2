"""Examples that show something: a click fills the form and ranks.

Each puts the best document where keyword matching would not, or lets an instruction turn the order round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One filled-in form.

    Attributes:
        key: Names the title among the page's translated labels.
        title: What its button says, by language.
    """

    key: str
    title: Mapping[str, str]
    query: str
    documents: tuple[str, ...]
    instruction: str = ""

    @property
    def lines(self) -> str:
        """The documents as a person would type them."""
        return "\n".join(self.documents)


EXAMPLES = (
    Example(
        key="example_meaning",
        title={"en": "Meaning, not keywords", "zh-CN": "看含义，不看字面"},
        query="How do I stop my cat from waking me up at night?",
        documents=(
            "Night vision in a cat is far better than ours: six times less light is enough.",
            "The best alarm clocks that wake you up gently, tested over thirty nights.",
            "Play hard with your pet before bedtime and serve the last meal late; a tired, full animal sleeps until morning.",
            "Why we wake up at night, and what stops us from falling asleep again.",
            "If the meowing at dawn gets no answer at all, neither food nor attention, it fades within two weeks.",
            "Cats on stage: the musical returns for one night only.",
        ),
    ),
    Example(
        key="example_instruction",
        title={"en": "An instruction decides", "zh-CN": "指令决定排序"},
        query="How fast is a jaguar?",
        instruction="The reader wants to buy a car. Passages about animals are not relevant.",
        documents=(
            "Over a short distance a jaguar reaches about 80 km/h, but it rarely runs far after its prey.",
            "The F-Type R takes 3.7 seconds to 100 km/h and is limited to 300 km/h.",
            "Leopard and jaguar are told apart by their spots: only the jaguar's rosettes hold dots.",
            "With the larger battery the I-Pace is governed to 200 km/h to spare its range.",
            "Used-car prices fell for the third month in a row.",
        ),
    ),
    Example(
        key="example_chinese",
        title={"en": "中文 · in Chinese", "zh-CN": "换种说法也能找到"},
        query="银行卡在外地弄丢了怎么办？",
        documents=(
            "外地游客凭银行卡消费可享九折优惠，活动截止到月底。",
            "请立即拨打客服热线办理口头挂失，冻结账户，之后持身份证到任一网点补办。",
            "银行卡的种类：借记卡、信用卡与预付卡有何区别？",
            "在外地办理银行卡需要携带哪些材料？",
            "手机银行登录后进入“卡片管理”，可一键锁定，资金不会被他人取走。",
            "钱包丢了，里面有三百元现金和一张公交卡。",
        ),
    ),
    Example(
        key="example_languages",
        title={"en": "Across languages", "zh-CN": "跨语言"},
        query="怎样冷冻面包才不会变干？",
        documents=(
            "Bread was already baked in ancient Egypt, in clay pots set among the embers.",
            "Slice the loaf while it is fresh, wrap it airtight and freeze it the same day; toast it straight from frozen.",
            "冷冻食品的保质期应当标注在包装正面。",
            "Das Brot luftdicht in einen Gefrierbeutel geben, die Luft herausdrücken und bei -18 °C einfrieren.",
            "为什么面包放在冰箱冷藏室里反而干得更快？",
        ),
    ),
    Example(
        key="example_code",
        title={"en": "Code", "zh-CN": "代码"},
        query="read a huge text file line by line without loading it into memory",
        instruction="Given a description of a task, find the code that does it.",
        documents=(
            "text = open(path).read().splitlines()  # load the text file into memory, line by line",
            "with open(path) as handle: yield from handle",
            "df = pd.read_csv(path)",
            "bufio.NewScanner(file)",
            "os.remove(path)",
        ),
    ),
)


def titles(lang: str) -> dict[str, str]:
    """Return the titles of all examples in one language, by key."""
    return {example.key: example.title[lang] for example in EXAMPLES}
