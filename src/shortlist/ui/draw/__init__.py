"""The page's HTML. Pure: equal values give equal text.

All text from users or the network is escaped here, and only here builds markup from data.
"""
