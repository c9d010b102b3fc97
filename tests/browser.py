"""A real browser without a network, for pages that promise to stay on this machine.

    from browser import browser, visit    # in the conftest.py of the folder

    def test_page(visit):
        seen = visit("file:///…/page.html")
        assert seen.page.title() == "…"
        assert seen.errors == []

`visit(url, allowed=…)` opens a page in a fresh context. Only addresses that begin with one of
`allowed` are answered (by default the address itself); every other request is refused and noted.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No name but this machine's is resolved, whatever a page does to get round the interception.
FLAGS = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
)


@dataclass
class Seen:
    """An open page and what it did: `requests` it made, those `refused`, `errors` it told."""

    page: Page
    requests: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def executable() -> str | None:
    """The first browser of the PATH that Playwright can drive."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; skips and says why where there is none.

    For one module: while Playwright is open its event loop runs in this thread, and nobody else
    may start one.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install 'influence-store[dev]' brings playwright"
    )
    path = executable()
    if path is None:
        pytest.skip(f"no browser on the PATH; looked for {', '.join(NAMES)}")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """`visit(url, allowed=None, **context)`: open `url`; see the module. Closed with the test."""
    with ExitStack() as stack:

        def opened(url: str, allowed: Sequence[str] | None = None, **context: Any) -> Seen:
            seen = open_page(browser, [url] if allowed is None else allowed, stack, **context)
            seen.page.goto(url, wait_until="load")
            return seen

        yield opened


def open_page(browser: Browser, allowed: Sequence[str], stack: ExitStack, **context: Any) -> Seen:
    """An empty page that may ask for `allowed` beginnings of addresses and nothing else.

    `context` goes to Playwright: viewport, color_scheme, reduced_motion, java_script_enabled …
    """
    inside = browser.new_context(**context)
    stack.callback(inside.close)
    seen = Seen(inside.new_page())

    def decide(route: Any) -> None:
        url = route.request.url
        if url.startswith(tuple(allowed)):
            route.continue_()
        else:
            seen.refused.append(url)
            route.abort()

    inside.route("**/*", decide)
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on(
        "console",
        lambda told: seen.errors.append(told.text) if told.type in ("error", "warning") else None,
    )
    return seen


def serious_violations(page: Page) -> list[str]:
    """What axe-core calls serious or critical, as `rule: element` (empty = accessible to it)."""
    axe = pytest.importorskip(
        "axe_playwright_python", reason="pip install 'influence-store[dev]' brings axe-core"
    )
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    told = page.evaluate("() => axe.run()")
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in told["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
