"""`shortlist bench load`: servers under many users, or many arrivals a second, and the fate of every request.

The package knows HTTP as a client, schedules of load, and how samples become figures. It knows servers by their address and
their dialect alone: Shortlist's own server is treated like any other.
"""
