"""Examples: a click fills the form and sends it.

Each shows that the best document is not the best keyword match, that an instruction or another query changes the order, or
another feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Example:
    """Values of a form.

    Attributes:
        key: The title's key among the translated labels.
        title: The button's label, by language.
        other_query: The query on the right of a comparison.
        groups: Queries with documents, as of a file, instead of `query` and `documents`.
    """

    key: str
    title: Mapping[str, str]
    query: str
    documents: tuple[str, ...]
    instruction: str = ""
    other_query: str = ""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def lines(self) -> str:
        """The documents as typed: one per line."""
        return "\n".join(self.documents)

    @property
    def file_text(self) -> str:
        """The groups as a JSONL file; empty without groups."""
        groups = ({"query": query, "documents": documents} for query, documents in self.groups)
        return "\n".join(orjson.dumps(group).decode() for group in groups)


LONG_DOCUMENT = (
    "News from the old harbour, May. The choir of the fishermen sings on Friday at eight in the boat shed; a jar for "
    "the new roof stands at the door. The library has bought forty books about stars and is looking for a volunteer who "
    "reads to children on Wednesday afternoons. At the town hall the plans for the sea wall can be seen until the end "
    "of the month, and the mayor answers questions every Thursday. The bakery in the net makers' lane closes for two "
    "weeks, because the oven is rebuilt; bread is sold from a cart on the market meanwhile. The school collects "
    "paper and old batteries again. The finder of a grey cat with one white paw is asked to tell the harbour master, "
    "who misses her. The ferry to the islands has its summer timetable from the tenth: the first boat leaves at six, "
    "the last one comes back at nine, and dogs travel free. In the lighthouse the stairs were painted, so please use "
    "the handrail on the other side. The museum of ropes shows knots from three centuries, and how they hold. The "
    "bathing hut by the pier has warm showers again. At the rental by the bridge there are twenty new bicycles. A "
    "deposit of fifty euros is left at the counter. From Monday to Saturday a rented bicycle has to be back by seven "
    "in the evening; on Sundays it may be kept until ten at night without a surcharge, and after that half a day is "
    "charged. Baskets and child seats are lent free of charge. The garden club meets under the lime tree to swap "
    "seedlings, and has too many tomatoes. Last, the harbour festival needs hands that carry benches, and voices that "
    "can be heard without a microphone."
)

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
    Example(
        key="example_long",
        title={"en": "A long document", "zh-CN": "长文档"},
        query="When do I have to return a rented bike on Sunday?",
        documents=(
            "Our shop sells new and used bicycles, helmets and locks; a first inspection is free of charge.",
            "On Sundays the museum is open from ten to six; the last guided tour starts at five.",
            LONG_DOCUMENT,
            "Books may be kept for four weeks, and returned on any day through the slot in the door.",
        ),
    ),
    Example(
        key="example_groups",
        title={"en": "Several queries at once", "zh-CN": "一次多个查询"},
        query="",
        documents=(),
        groups=(
            (
                "my parcel has not arrived",
                (
                    "Return labels can be printed at any kiosk.",
                    "If a delivery is late by more than three days, we send it again free of charge.",
                    "We pack with paper only.",
                    "Track a shipment with the number in your confirmation.",
                ),
            ),
            (
                "change the card that is charged each month",
                (
                    "Invoices are sent on the first day of the month.",
                    "Gift cards never expire.",
                    "Open Billing, choose Payment method, and enter the new one; the next invoice uses it.",
                ),
            ),
            (
                "who can see my photos?",
                (
                    "Albums are private until you share a link; only people with the link can open them.",
                    "Photos are kept in full resolution.",
                    "Print your best pictures as a calendar.",
                ),
            ),
        ),
    ),
    Example(
        key="example_instruction",
        title={"en": "An instruction decides (if the model takes one)", "zh-CN": "指令决定排序（需模型支持指令）"},
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
)


COMPARISONS = (
    Example(
        key="example_two_meanings",
        title={"en": "One word, two meanings", "zh-CN": "一词两义"},
        query="What is new from Apple?",
        other_query="How do I bake with apples?",
        documents=(
            "Apple shares rose after the company showed a new laptop.",
            "Slice the apples thinly, add cinnamon and bake for forty minutes.",
            "An apple tree should be pruned in late winter.",
            "The new iPhone has a better camera and a longer battery life.",
            "Cider is pressed from apples that are too sour to eat.",
            "Orchards in the valley lost half of the harvest to frost.",
        ),
    ),
    Example(
        key="example_short_query",
        title={"en": "Keywords or a question", "zh-CN": "关键词还是问句"},
        query="python json",
        other_query="How do I read a JSON file in Python?",
        documents=(
            "Pythons are large snakes that live in Africa, Asia and Australia.",
            "with open(path) as file: data = json.load(file)",
            "JSON is a text format that began as a part of JavaScript.",
            "json.dumps(value, indent=2) writes a value as readable text.",
            "Python 3.13 comes with a better interactive shell.",
        ),
    ),
)

TEXTS = (
    Example(
        key="example_topics",
        title={"en": "Three topics", "zh-CN": "三个主题"},
        query="",
        documents=(
            "The dough has to rest in a warm place until it has doubled.",
            "Knead flour, water, salt and yeast into a smooth dough.",
            "A sourdough loaf keeps fresh for several days.",
            "The train to the coast leaves from platform four.",
            "Night trains with sleeping cars run again to Vienna.",
            "Seats on the railway can be reserved for a small fee.",
            "The striker scored twice in the second half.",
            "After extra time the match was decided by penalties.",
        ),
    ),
    Example(
        key="example_paraphrase",
        title={"en": "Same words, same meaning", "zh-CN": "字面相同与含义相同"},
        query="",
        documents=(
            "The bank raised its interest rates.",
            "Borrowing money became more expensive.",
            "We had a picnic on the river bank.",
            "The lender increased what it charges for loans.",
            "Lunch on the grass beside the water was lovely.",
        ),
    ),
)


def titles(lang: str) -> dict[str, str]:
    """Return the titles of all examples in one language, by key."""
    return {example.key: example.title[lang] for example in (*EXAMPLES, *COMPARISONS, *TEXTS)}
