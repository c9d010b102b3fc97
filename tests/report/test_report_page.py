"""The page: whole in itself, the same each time, small, and safe against the texts in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_stores import HOSTILE

from influence_store.errors import MissingExtra
from influence_store.report.facts import GRID, Map
from influence_store.report.page import page
from influence_store.report.publish import MARK
from influence_store.report.texts import number, seconds, share, visible


class Parsed(HTMLParser):
    """Elements, addresses, numbers of the `data` elements, and all text outside scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.values: list[float] = []
        self.text = ""
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[name] for name in ("src", "href", "action") if name in found]
        self._script = tag in ("script", "style")
        if tag == "data":
            self.values.append(float(found["value"]))

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if not self._script:
            self.text += data


def numbers(facts) -> set[float]:
    """Every number of a JSON document, and how long its lists are."""
    if isinstance(facts, dict):
        return set().union(*map(numbers, facts.values()))
    if isinstance(facts, list | tuple):
        return set().union(*map(numbers, facts))
    if isinstance(facts, bool) or not isinstance(facts, int | float):
        return set()
    return {float(facts)}


def test_every_number_of_the_page_is_one_that_json_prints(whole, whole_page, tmp_path):
    told = json.loads(whole("report", "pool", "-o", tmp_path / "again.html", "--json"))
    shown = Parsed(whole_page.read_text("utf-8")).values
    assert len(shown) > 300
    assert set(shown) <= numbers(told)
    assert told["bytes"] == whole_page.stat().st_size
    assert (tmp_path / "again.html").read_bytes() == whole_page.read_bytes()


def test_another_process_with_other_hashes_writes_the_same_bytes(whole, whole_page, tmp_path):
    out = tmp_path / "other.html"
    line = ["--store", whole.uri, "report", "pool", "-o", str(out)]
    subprocess.run(
        [sys.executable, "-m", "influence_store.cli", *line],
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        check=True,
        capture_output=True,
    )
    assert out.read_bytes() == whole_page.read_bytes()


def test_the_page_names_no_address_and_its_policy_allows_none(whole_page):
    html = whole_page.read_text("utf-8")
    found = Parsed(html)
    assert all(one.startswith("#") for one in found.addresses)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src &#39;none&#39;")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert html.encode().startswith(MARK)


def test_hostile_texts_are_text(whole_page):
    html = whole_page.read_text("utf-8")
    found = Parsed(html)
    assert found.tags.count("script") == 3
    assert "img" not in found.tags
    assert "b" not in found.tags
    # They are there, as they were written: Jinja has not looked into what it filled in.
    shown = [name for name, text in HOSTILE.items() if visible(text) in found.text]
    assert len(shown) >= 4
    for sign in "\u202e\u2066\x07\x1b\u200b":
        assert sign not in html
    assert "two\\u202e.jsonl" in found.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("\x1b[31m\x07", "\\x1b[31m\\x07"),
        ("line\none\ttab", "line\none\ttab"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627", "\u0645\u06cc\u200c\u062e\u0648\u0627"),
        ("👩\u200d🔬 ✓ 漢字", "👩\u200d🔬 ✓ 漢字"),
        ("\U000e0041", "\\U000e0041"),
    ],
)  # fmt: skip
def test_what_steers_is_shown_and_what_people_write_stays(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "–"), (12345, "12,345"), (-0.01234, "−0.0123"), (5.2e-6, "5.2 × 10⁻⁶"),
     (1234.5, "1,234"), (0.0, "0"), (1e20, "1 × 10²⁰")],
)  # fmt: skip
def test_numbers_have_three_digits_that_count(value, told):
    assert number(value) == told


def test_parts_and_durations_are_said_as_people_say_them():
    assert share(0.1234) == "12.3 %"
    assert [seconds(one) for one in (0.5, 90, 7200, 864000)] == [
        "0.5 s",
        "90 s",
        "2.0 h",
        "10.0 days",
    ]


def test_twenty_thousand_points_fit_in_two_megabytes(whole):
    facts = whole.facts("pool")
    assert isinstance(facts.map, Map)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, GRID + 1, (2, 20_000)).tolist()
    tenth, selected = rng.integers(1, 11, 20_000).tolist(), rng.integers(0, 2, 20_000).tolist()
    many = replace(
        facts.map,
        points=20_000,
        x=tuple(x),
        y=tuple(y),
        tenth=tuple(tenth),
        selected=tuple(selected),
    )
    html = page(replace(facts, map=many))
    assert len(html) <= 2_000_000
    read = json.loads(re.search(rb'id="data">(.*?)</script>', html, re.DOTALL)[1])
    assert read["map"]["x"] == x


@pytest.mark.parametrize("package", ["altair", "jinja2", "vl_convert"])
def test_what_is_not_installed_is_named_with_its_extra(known, monkeypatch, package):
    from influence_store.report.page import vega

    facts = known.facts("team")
    vega.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"(?s){package}.*influence-store\[report\]"):
        page(facts)
    vega.cache_clear()


def test_an_almost_empty_store_still_makes_a_page(known):
    found = Parsed(page(known.facts("team@1")).decode())
    assert "influence-store embed team@1 --embedder EMBEDDER" in found.text
    assert "influence-store select team@1 --budget 10%" in found.text
    assert "canvas" not in found.tags
