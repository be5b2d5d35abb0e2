"""Opening a file: what is clicked, and what stands in the place of typed documents once a file is open."""

from __future__ import annotations

from html import escape
from typing import Final

from shortlist.ui.files import MAX_FILE_BYTES, Opened
from shortlist.ui.words import LANGUAGES, Words

ENDINGS: Final = ".txt,.csv,.tsv,.jsonl,.ndjson,.md"
INPUT_ID: Final = "file"


def file_picker() -> str:
    """Return the field that opens a file, in every language."""
    names = "".join(
        f'<span lang="{words.lang}"><b>{escape(words.open_file)}</b> <small>{escape(words.open_file_hint)}</small></span>'
        for words in LANGUAGES
    )
    field = f'<input type="file" id="{INPUT_ID}" class="sl-hidden" accept="{ENDINGS}" data-most="{MAX_FILE_BYTES}">'
    return f'<div class="sl-picker">{field}<label for="{INPUT_ID}">{names}</label></div>'


def file_card(name: str, opened: Opened, words: Words) -> str:
    """Return what is said of a file: how much there is, and whether there are columns to choose from, or groups."""
    marks = " data-columns" * (len(opened.columns) > 1) + " data-groups" * bool(opened.groups)
    total = opened.num_documents
    groups = len(opened.groups)
    sentence = words.file_groups.format(groups=groups, total=total) if groups else words.file_documents.format(total=total)
    return (
        f'<div class="sl-file" role="status" lang="{words.lang}"{marks}><b>{escape(name)}</b><span>{escape(sentence)}</span>'
        f'<button type="button" data-forget>{escape(words.type_instead)}</button></div>'
    )
