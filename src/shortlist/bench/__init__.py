"""`shortlist bench load`: measures servers under concurrent users or a fixed arrival rate, and counts every request's outcome.

The package holds the HTTP client, the load schedules and the statistics. A server is an address and a dialect: Shortlist's own
server gets no special treatment.
"""
