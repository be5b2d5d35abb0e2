"""Tests the figures of a report: medians over rounds, ratios within a round, and the floor at the highest rate."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shortlist.bench.stats import Spread
from tests.support.reports import entry, report


def test_ratios_are_taken_within_a_round() -> None:
    rows = {row.name: row for row in report().rows("10x100")}
    assert rows["official"].seconds == Spread(4.0, 3.0, 4.0)
    # The ratios within rounds are 3, 2 and 1. The ratio of the medians is the same by chance; its spread differs.
    assert rows["official"].ratio == Spread(2.0, 1.0, 3.0)
    assert rows["ours"].ratio == Spread(1.0, 1.0, 1.0)


def test_fastest_is_first_and_dropped_contenders_are_absent() -> None:
    assert [row.name for row in report().rows("10x100")] == ["ours", "official"]
    swapped = report(entries=[entry("official"), entry("ours")])
    assert [row.name for row in swapped.rows("10x100")] == ["ours", "official"]


def test_tokens_per_second_use_the_tokens_of_each_round() -> None:
    rows = {row.name: row for row in report().rows("10x100")}
    assert rows["ours"].tokens_per_s == 400  # of 500, 400, 200


def test_only_shortlist_has_a_floor_share_at_the_highest_rate() -> None:
    rows = {row.name: row for row in report().rows("10x100")}
    assert rows["ours"].floor_share == pytest.approx(0.4)  # 0.5 of 1 s, 0.8 of 2 s, 0.8 of 4 s
    assert rows["official"].floor_share is None
    assert report(floors=[]).rows("10x100")[0].floor_share is None


def test_report_without_shortlist_has_no_ratios() -> None:
    found = report()
    without = replace(found, entries=[replace(found.entries[0], why_not="it died"), *found.entries[1:]])
    [row] = without.rows("10x100")
    assert (row.name, row.ratio) == ("official", None)


def test_json_has_measured_and_computed_values() -> None:
    found = json.loads(report().to_json())
    assert [each["seconds"]["ours"] for each in found["rounds"]["10x100"]] == [1.0, 2.0, 4.0]
    assert found["figures"]["10x100"][1]["ratio"] == {"median": 2.0, "least": 1.0, "most": 3.0}
    assert found["machine"]["cpu"] == "Example CPU"
    assert found["machine"]["command"] == "python -m benchmarks model"
    assert found["entries"][3]["why_not"] == "gone: <no> [such] program"
    assert len(found["floors"]) == 2
