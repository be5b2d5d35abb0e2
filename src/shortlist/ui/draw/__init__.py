"""What the page shows, as HTML. Pure: the same values give the same text.

Everything that came from a person or from the network is escaped here, and only here; nothing else on the page builds markup
from data.
"""
