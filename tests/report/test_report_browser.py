"""The page in a real browser without a network."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from browser import serious_violations

_DRAWN = "() => document.documentElement.dataset.drawn !== undefined"


@pytest.fixture
def seen(visit, whole_page):
    """Opens the page and waits until all is drawn; options as for `visit`."""

    def opened(**context):
        found = visit(whole_page.as_uri(), **context)
        found.page.wait_for_function(_DRAWN, timeout=60_000)
        return found

    return opened


def test_it_asks_for_nothing_complains_of_nothing_and_draws_everything(seen, whole_page):
    found = seen()
    assert found.requests == [whole_page.as_uri()]
    assert found.refused == []
    assert found.errors == []
    page = found.page
    specs = json.loads(page.locator("#data").text_content())["charts"]
    assert page.locator("[data-chart]").count() == len(specs) >= 10
    assert page.locator("[data-chart] svg").count() == len(specs)
    # A picture without marks would be none.
    marks = "svg => svg.querySelectorAll('.mark-rect path, .mark-rule line, .mark-symbol path, .mark-line path').length"  # noqa: E501
    assert all(one.evaluate(marks) for one in page.locator("[data-chart] svg").all())
    assert page.locator("#map").get_attribute("data-drawn") == "48"
    inked = """map => new Set(new Uint32Array(map.getContext("2d").getImageData(
        0, 0, map.width, map.height).data.buffer)).size"""
    assert page.locator("#map").evaluate(inked) > 10


def test_no_text_of_a_stranger_has_run_or_made_an_element(seen):
    page = seen().page
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("img, [onclick], [onerror]").count() == 0
    assert page.locator("dd").filter(has_text="window.hacked").count() > 0


def test_tables_hold_the_numbers_of_the_facts(seen, whole):
    page, facts = seen().page, whole.facts("pool")

    def table(name):
        return page.locator(f'[data-table="{name}"] tbody tr').evaluate_all(
            "rows => rows.map(row => [...row.querySelectorAll('data')].map(one => +one.value))"
        )

    assert table("sources") == [[one.rows] for one in facts.contents.sources]
    (card,) = facts.accuracy
    ranks = [row[0] for row in table(f"card-{card.fingerprint}")]
    assert ranks == [one.rank for one in card.rivals]
    assert table("spent") == [list(vars(one).values())[1:] for one in facts.cost.spent]
    assert table("curve") == [[one.picks, one.value, one.share] for one in facts.selection.curve]
    assert [row[0] for row in table("rivals")][:2] == [
        facts.selection.value,
        facts.selection.references[0].value,
    ]
    found = table("influence-0")
    assert found[0] == list(vars(facts.influence.columns[0].spread).values())
    assert [row[:2] for row in table("map")] == [
        [one.points, one.selected] for one in facts.map.sources
    ]


def test_the_keyboard_reaches_the_skip_link_and_every_table(seen):
    page = seen().page
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "contents"
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.tagName") == "SUMMARY"
    opened = "() => document.activeElement.parentElement.open"
    assert page.evaluate(opened) is False
    page.keyboard.press("Enter")
    assert page.evaluate(opened) is True
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "wide"
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.textContent"))
    assert set(page.locator("summary").all_text_contents()[1:]) <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 400])
def test_it_shuts_nobody_out(seen, scheme, width):
    page = seen(color_scheme=scheme, viewport={"width": width, "height": 800}).page
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert serious_violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


def test_every_picture_has_words_and_a_table_behind_it(seen):
    page = seen().page
    behind = """figures => figures.map(one => {
        const chart = one.querySelector("[role=img]");
        let next = one.nextElementSibling;
        while (next?.matches(":not(details, section)")) next = next.nextElementSibling;
        return [chart.getAttribute("aria-label"), next?.tagName];
    })"""
    found = page.locator("figure").evaluate_all(behind)
    assert len(found) >= 10
    assert all(label and tag == "DETAILS" for label, tag in found)


def test_headings_go_down_one_level_at_a_time(seen):
    levels = (
        seen().page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => +one.tagName[1])")
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert levels.count(2) == 8
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_the_dark_scheme_turns_the_map_too(seen):
    corner = "map => map.getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    page = seen(color_scheme="light").page
    assert page.locator("#map").evaluate(corner) == 255
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.getElementById('map').getContext('2d')"
                           ".getImageData(0, 0, 1, 1).data[0] < 60")  # fmt: skip


def test_without_scripts_the_tables_are_there_and_say_so(visit, whole_page):
    page = visit(whole_page.as_uri(), java_script_enabled=False).page
    assert "pictures need JavaScript" in page.locator("noscript").inner_text()
    assert page.locator("table").count() >= 10


def test_paper_is_light_and_shows_every_table(seen, tmp_path):
    found = seen(color_scheme="dark")
    pdf = found.page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 5
    assert found.errors == []
    found.page.emulate_media(media="print")
    body = "() => getComputedStyle(document.body).backgroundColor"
    assert found.page.evaluate(body) == "rgb(255, 255, 255)"
    # What was shut before is shut again.
    assert found.page.locator("details[open]").count() < found.page.locator("details").count()
