"""The page's style: Gradio's theme in Shortlist's colours, system fonts and inline images; nothing from other hosts."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLE_SHEET = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")

_SANS = (
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
)
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

PAPER, PAPER_DARK = "#f6f5f1", "#131513"
CARD, CARD_DARK = "#ffffff", "#1b1e1c"
LINE, LINE_DARK = "#e2e0d8", "#2e332f"
INK, INK_DARK = "#1d211f", "#e9ebe7"
FAINT, FAINT_DARK = "#62675f", "#9da49c"
PINE, PINE_DARK = "#17715f", "#5fc2a8"
PINE_DEEP, PINE_BRIGHT = "#0f5a4b", "#7fd6bf"

HEAD = f"""
<meta name="color-scheme" content="light dark">
<link rel="icon" href="../favicon.ico" type="image/svg+xml">
<style>
html {{ background: {PAPER}; }}
@media (prefers-color-scheme: dark) {{ html {{ background: {PAPER_DARK}; }} }}
</style>
"""


def head() -> str:
    """Return the tags for the HTML head: colours until the style sheet is loaded, and the page's script."""
    return f"{HEAD}<script>{SCRIPT.read_text(encoding='utf-8')}</script>"


def theme() -> gr.themes.Base:
    """Return Gradio's base theme in paper, ink and pine colours."""
    base = gr.themes.Base(font=_SANS, font_mono=_MONO, radius_size="md", spacing_size="md", text_size="md")
    return base.set(**_surfaces(), **_inputs(), **_buttons())


def _surfaces() -> dict[str, str]:
    return {
        "body_background_fill": PAPER,
        "body_background_fill_dark": PAPER_DARK,
        "body_text_color": INK,
        "body_text_color_dark": INK_DARK,
        "body_text_color_subdued": FAINT,
        "body_text_color_subdued_dark": FAINT_DARK,
        "background_fill_primary": CARD,
        "background_fill_primary_dark": CARD_DARK,
        "background_fill_secondary": PAPER,
        "background_fill_secondary_dark": PAPER_DARK,
        "border_color_primary": LINE,
        "border_color_primary_dark": LINE_DARK,
        "color_accent": PINE,
        "color_accent_soft": "#e3efec",
        "color_accent_soft_dark": "#1e332d",
        "border_color_accent": PINE,
        "border_color_accent_dark": PINE_DARK,
        "loader_color": PINE,
        "loader_color_dark": PINE_DARK,
    }


def _inputs() -> dict[str, str]:
    return {
        "block_background_fill": "transparent",
        "block_background_fill_dark": "transparent",
        "block_border_width": "0px",
        "block_border_width_dark": "0px",
        "block_padding": "0px",
        "block_shadow": "none",
        "block_title_text_weight": "600",
        "block_title_text_size": "13px",
        "block_title_text_color": INK,
        "block_title_text_color_dark": INK_DARK,
        "block_info_text_color": FAINT,
        "block_info_text_color_dark": FAINT_DARK,
        "block_info_text_size": "12.5px",
        "input_background_fill": CARD,
        "input_background_fill_dark": "#161917",
        "input_border_color": "#cfccc1",
        "input_border_color_dark": "#3c433e",
        "input_border_color_focus": PINE,
        "input_border_color_focus_dark": PINE_DARK,
        "input_border_width": "1px",
        "input_border_width_dark": "1px",
        "input_radius": "8px",
        "input_padding": "10px 12px",
        "input_text_size": "15px",
        "input_shadow": "none",
        "input_shadow_focus": "0 0 0 3px #17715f26",
        "input_shadow_focus_dark": "0 0 0 3px #5fc2a833",
        "input_placeholder_color": "#74796f",
        "input_placeholder_color_dark": "#8a918a",
    }


def _buttons() -> dict[str, str]:
    return {
        "button_primary_background_fill": PINE,
        "button_primary_background_fill_dark": PINE_DARK,
        "button_primary_background_fill_hover": PINE_DEEP,
        "button_primary_background_fill_hover_dark": PINE_BRIGHT,
        "button_primary_text_color": "#ffffff",
        "button_primary_text_color_dark": "#0c1613",
        "button_primary_text_color_hover": "#ffffff",
        "button_primary_text_color_hover_dark": "#0c1613",
        "button_primary_border_color": PINE,
        "button_primary_border_color_dark": PINE_DARK,
        "button_primary_border_color_hover": PINE_DEEP,
        "button_primary_border_color_hover_dark": PINE_BRIGHT,
        "button_secondary_background_fill": "transparent",
        "button_secondary_background_fill_dark": "transparent",
        "button_secondary_background_fill_hover": "#e3efec",
        "button_secondary_background_fill_hover_dark": "#1e332d",
        "button_secondary_text_color": INK,
        "button_secondary_text_color_dark": INK_DARK,
        "button_secondary_border_color": "#cfccc1",
        "button_secondary_border_color_dark": "#3c433e",
        "button_secondary_border_color_hover": PINE,
        "button_secondary_border_color_hover_dark": PINE_DARK,
        "button_large_radius": "8px",
        "button_large_text_weight": "600",
        "button_small_radius": "999px",
    }
