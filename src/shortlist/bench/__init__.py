"""How fast, how right and how large: contenders, side by side, on the same fresh requests on one machine.

A contender is a program that speaks `protocol`; our own engine is one of them and gets no other treatment. This room knows
loads, rounds, figures and reports. Of the service it knows what its own contender needs; of other people's programs, nothing.
"""
