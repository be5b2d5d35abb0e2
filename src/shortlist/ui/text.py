"""Every sentence a person can read on the page, in English and in Chinese.

Labels are handed to the browser, which picks by its own language; what is rendered here follows the same language as the
browser states it (`Accept-Language`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from shortlist.ui.examples import titles


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The page in one language. Braces are filled in by `render`."""

    lang: str
    tagline: str
    # form
    query: str
    query_hint: str
    documents: str
    documents_hint: str
    instruction: str
    instruction_hint: str
    model: str
    top_n: str
    top_n_hint: str
    rank: str
    keys: str
    examples: str
    # result
    result: str
    nothing_yet: str
    nothing_yet_hint: str
    rank_column: str
    document_column: str
    score_column: str
    moved_column: str
    best_of: str
    num_documents: str
    num_tokens: str
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
    failed: str
    # errors
    no_query: str
    no_documents: str
    bad_top_n: str
    overloaded: str
    too_slow: str
    not_ready: str
    unavailable: str
    no_key: str
    not_found: str
    too_large: str
    too_long: str
    refused: str
    broken: str


ENGLISH = Words(
    lang="en",
    tagline="Many candidates in, the right few out.",
    query="Query",
    query_hint="What are you looking for?",
    documents="Documents",
    documents_hint="One document per line",
    instruction="Instruction",
    instruction_hint="Leave empty for the model’s default",
    model="Model",
    top_n="At most",
    top_n_hint="all",
    rank="Rank",
    keys="Enter in the query ranks; in the documents, Shift + Enter.",
    examples="Try",
    result="Ranking",
    nothing_yet="Nothing ranked yet",
    nothing_yet_hint="Enter a query and a few documents, or start from an example.",
    rank_column="Rank",
    document_column="Document",
    score_column="Score",
    moved_column="Change against input order",
    best_of="Best {shown} of {total} documents",
    num_documents="{total} documents",
    num_tokens="{count} tokens",
    total_time="{ms} ms",
    tokenize_time="tokenise {ms} ms",
    queue_time="wait {ms} ms",
    compute_time="compute {ms} ms",
    moved_up="up {count} from line {line}",
    moved_down="down {count} from line {line}",
    not_moved="same place as in the input",
    show_all="Show all",
    show_less="Show less",
    truncated="cut",
    truncated_hint="Too long for the model: only the beginning was read.",
    failed="Could not be scored",
    no_query="Enter a query first: the documents are ranked by how well they answer it.",
    no_documents="Enter at least one document, one per line.",
    bad_top_n="“At most” must be a whole number of at least 1, or empty for all.",
    overloaded="The server is busy. Try again in {seconds} s.",
    too_slow="The server did not finish in time. Try fewer or shorter documents.",
    not_ready="The server is still starting or is about to stop. Try again in a moment.",
    unavailable="The model is not available at the moment. Try again later, or ask whoever runs this server.",
    no_key="This server wants an API key, and this one was missing or wrong.",
    not_found="The server does not offer this model.",
    too_large="That is more text than the server takes at once. Try fewer or shorter documents.",
    too_long="The query and the instruction leave no room for a document. Make them shorter.",
    refused="The server did not accept this request.",
    broken="Something went wrong on the server’s side.",
)

CHINESE = Words(
    lang="zh-CN",
    tagline="候选再多，只留真正相关的几条。",
    query="查询",
    query_hint="想找什么？",
    documents="文档",
    documents_hint="每行一篇文档",
    instruction="指令",
    instruction_hint="留空则使用模型的默认指令",
    model="模型",
    top_n="最多显示",
    top_n_hint="全部",
    rank="开始排序",
    keys="在查询框按回车即可排序；在文档框请按 Shift + 回车。",
    examples="试试",
    result="排序结果",
    nothing_yet="还没有结果",
    nothing_yet_hint="输入查询和几篇文档，或者从一个示例开始。",
    rank_column="名次",
    document_column="文档",
    score_column="得分",
    moved_column="与输入顺序相比",
    best_of="{total} 篇文档中的前 {shown} 篇",
    num_documents="{total} 篇文档",
    num_tokens="{count} 个词元",
    total_time="{ms} 毫秒",
    tokenize_time="分词 {ms} 毫秒",
    queue_time="排队 {ms} 毫秒",
    compute_time="计算 {ms} 毫秒",
    moved_up="原在第 {line} 行，上升 {count} 位",
    moved_down="原在第 {line} 行，下降 {count} 位",
    not_moved="与输入位置相同",
    show_all="展开",
    show_less="收起",
    truncated="已截断",
    truncated_hint="超出模型的长度上限，只读取了开头部分。",
    failed="未能评分",
    no_query="请先输入查询：文档会按与它的相关程度排序。",
    no_documents="请至少输入一篇文档，每行一篇。",
    bad_top_n="“最多显示”须为不小于 1 的整数，留空表示全部。",
    overloaded="服务器正忙，请在 {seconds} 秒后重试。",
    too_slow="服务器未能按时完成。请减少文档数量，或缩短文档。",
    not_ready="服务器正在启动或即将停止，请稍后再试。",
    unavailable="模型暂时不可用。请稍后再试，或联系服务器的管理员。",
    no_key="此服务器需要 API 密钥，而密钥缺失或不正确。",
    not_found="服务器上没有这个模型。",
    too_large="文本总量超出了服务器单次可接收的上限。请减少文档数量，或缩短文档。",
    too_long="查询和指令太长，没有给文档留下空间。请缩短后再试。",
    refused="服务器没有接受这个请求。",
    broken="服务器出了问题。",
)

LANGUAGES = (ENGLISH, CHINESE)


def words_for(accept_language: str | None) -> Words:
    """Return the page's words in the first language the browser lists that we speak; English when there is none.

    Source: RFC 9110, section 12.5.4; browsers list their languages in order, so weights are not read.
    """
    for entry in (accept_language or "").split(","):
        primary = entry.split(";")[0].strip().split("-")[0].lower()
        for words in LANGUAGES:
            if primary == words.lang.split("-")[0]:
                return words
    return ENGLISH


def translations() -> dict[str, dict[str, str]]:
    """Return all labels by browser locale. Every Chinese locale gets the Chinese page rather than the English one."""
    english, chinese = (asdict(words) | titles(words.lang) for words in LANGUAGES)
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese, "zh-HK": chinese}
