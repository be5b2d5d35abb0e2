"""The page's HTML. Pure: equal values give equal text.

This package escapes all text from users and the network; no other module builds markup from data.
"""
