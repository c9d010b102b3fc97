"""A real Chromium: log in, browse, sort, explain, compare; at any width and in the dark."""

from __future__ import annotations

import pytest
from browser import serious_violations

WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 400, "height": 800}


@pytest.fixture
def logged_in(visit, served):
    """A page that has logged in by the form."""

    def enter(scope="texts", **context):
        seen = visit(f"{served.url}/", allowed=[f"{served.url}/"], **context)
        assert seen.page.title().startswith("Log in")
        seen.page.get_by_label("Token").fill(served.secrets[scope])
        seen.page.get_by_role("button", name="Log in").click()
        seen.page.wait_for_url(f"{served.url}/")
        return seen

    return enter


def quiet(seen, served):
    """It asked nobody else, complained of nothing, and nothing of the store's texts ran."""
    assert seen.refused == []
    assert all(one.startswith((f"{served.url}/", "data:,")) for one in seen.requests)
    assert seen.errors == []
    assert seen.page.evaluate("window.harmed") is None


@pytest.mark.parametrize("script", [True, False], ids=["with scripts", "without scripts"])
def test_the_way_through_the_pages(logged_in, served, known, script):
    from playwright.sync_api import expect

    seen = logged_in(viewport=WIDE, java_script_enabled=script)
    page = seen.page
    page.get_by_role("link", name="demo", exact=True).click()
    page.get_by_role("link", name="See its samples").click()
    page.get_by_label("Sort by").select_option("inf_ifd")
    page.get_by_label("Text contains").fill("spell")
    page.get_by_role("button", name="Show").click()
    header = page.locator("th[aria-sort]")
    expect(header).to_have_attribute("aria-sort", "descending")
    values = page.locator("tbody tr td:nth-of-type(2)").all_inner_texts()
    numbers = [float(one) for one in values if one != "–"]
    assert len(numbers) > 5
    assert numbers == sorted(numbers, reverse=True)
    header.get_by_role("link").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    page.goto(f"{served.url}/samples/{known.hostile}")
    assert "<script>window.harmed" in page.locator("pre").first.inner_text()
    page.goto(f"{served.url}/selections/{known.selections['facility-location on cosine']}")
    page.get_by_label("Why is this sample in, or not?").fill(known.outside[:12])
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("h1")).to_contain_text("is not in")
    page.get_by_role("link", name="Compare").click()
    page.get_by_label("A", exact=True).select_option(known.selections["k-center"])
    page.get_by_label("B", exact=True).select_option(known.selections["graph-cut"])
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("dl").first).to_contain_text("Jaccard")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Log in")
    page.goto(f"{served.url}/runs")
    expect(page.locator("h1")).to_have_text("Log in")
    if script:
        quiet(seen, served)
    else:
        assert (seen.refused, seen.errors) == ([], [])


@pytest.mark.parametrize(
    ("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide, light", "400 px, dark"]
)
def test_every_page_is_accessible_and_fits(logged_in, served, pages, known, size, scheme):
    seen = logged_in(viewport=size, color_scheme=scheme)
    more = [f"/selections/{known.selections['top']}", "/samples/" + known.inside]
    why_not = (
        f"/selections/{known.selections['facility-location on cosine']}/explain/{known.outside}"
    )
    for address in [
        *[one for route, one in pages.items() if route != "/{path:path}"],
        *more,
        why_not,
    ]:
        seen.page.goto(served.url + address)
        assert serious_violations(seen.page) == [], address
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert seen.page.evaluate(wider) <= 0, address
    quiet(seen, served)
    seen.page.goto(f"{served.url}/nowhere")  # whose 404 the console does tell
    assert serious_violations(seen.page) == []
    seen.page.context.clear_cookies()
    seen.page.goto(f"{served.url}/login")
    assert serious_violations(seen.page) == []


def test_the_keyboard_reaches_the_content_first(logged_in):
    page = logged_in(viewport=WIDE).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_the_address_with_the_token_of_the_run_is_left_behind(visit, served):
    seen = visit(f"{served.url}/login?token={served.own}", allowed=[f"{served.url}/"])
    assert seen.page.url == f"{served.url}/"
    seen.page.go_back()
    assert served.own not in seen.page.url
