"""The picture in a browser's tab: three bars, the longest first."""

from typing import Final

ICON_SVG: Final = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28'>"
    "<rect x='2' y='4' width='24' height='5' rx='2.5' fill='#17715f'/>"
    "<rect x='2' y='12' width='16' height='5' rx='2.5' fill='#69a898'/>"
    "<rect x='2' y='20' width='9' height='5' rx='2.5' fill='#a9cdc4'/></svg>"
)
