"""The browser of the tests refuses the network and hears what a page complains of."""

from __future__ import annotations

from browser import browser, serious_violations, visit

__all__ = ["browser", "visit"]

_PAGE = """<!doctype html><html lang="en"><title>A page</title><h1>Seen</h1>
<img src="{other}" alt="">{more}<script>console.error("told"); throw new Error("thrown")</script>
"""


def test_a_page_is_seen_and_what_it_asks_for_elsewhere_is_refused(visit, tmp_path):
    other = "http://example.invalid/picture.png"
    page = tmp_path / "page.html"
    page.write_text(_PAGE.format(other=other, more=""))
    seen = visit(page.as_uri())
    assert seen.page.title() == "A page"
    assert seen.refused == [other]
    assert seen.requests == [page.as_uri(), other]
    assert any("told" in one for one in seen.errors)
    assert any("thrown" in one for one in seen.errors)


def test_what_is_hard_to_read_is_found(visit, tmp_path):
    page = tmp_path / "page.html"
    faint = '<p style="color:#ccc;background:#fff">faint</p>'
    page.write_text(_PAGE.format(other="data:,", more=faint))
    found = serious_violations(visit(page.as_uri()).page)
    assert [one.split(":")[0] for one in found] == ["color-contrast"]
