"""`shortlist bench load`: servers under many users, or many arrivals a second, and what became of every single request.

This room knows HTTP as a client speaks it, schedules, and how outcomes become figures. It knows servers by their address and
their dialect alone: ours gets no other treatment than anybody's.
"""
