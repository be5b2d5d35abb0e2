"""`shortlist bench load`: load tests of servers with concurrent users or arrivals per second.

The package is an HTTP client. It depends on a server's address and dialect only: Shortlist's own server is treated like any
other.
"""
