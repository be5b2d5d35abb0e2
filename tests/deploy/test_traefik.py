"""Traefik's file is consistent; Traefik itself is not run."""

from __future__ import annotations

from pathlib import Path

import yaml

FILE = Path("deploy/traefik/shortlist.yml")


def test_routers_name_services_and_middlewares_that_exist() -> None:
    http = yaml.safe_load(FILE.read_text(encoding="utf-8"))["http"]
    routers = http["routers"].values()
    assert {router["service"] for router in routers} == set(http["services"])
    assert {name for router in routers for name in router.get("middlewares", ())} == set(http["middlewares"])
    assert not {"retry", "buffering"} & {kind for middleware in http["middlewares"].values() for kind in middleware}


def test_page_is_sticky_and_both_services_have_the_same_servers() -> None:
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["http"]["services"]
    balancers = {name: service["loadBalancer"] for name, service in services.items()}
    assert "sticky" in balancers["shortlist-page"]
    assert balancers["shortlist"]["servers"] == balancers["shortlist-page"]["servers"]
