"""Nobody sees a page without a token, and nobody sees a text with one that may not."""

from __future__ import annotations

import time

import pytest
from small_store import ASKED, SCRIPT

from influence_store.serve.access import MOST_WRONG_PER_MINUTE, SESSION_SECONDS, reader
from influence_store.serve.guard import HEADERS
from influence_store.serve.tokens import make

OPEN = {"/login", "/logout", "/style.css"}


def routes(app):
    """(path, methods, dependencies) of every route, whatever includes it."""

    def walk(found, prefix=()):
        for route in found:
            inner = getattr(getattr(route, "original_router", None), "routes", None)
            if inner is not None:
                context = getattr(route, "include_context", None)
                added = tuple(getattr(context, "dependencies", ()) or ())
                yield from walk(inner, (*prefix, *added))
            else:
                own = tuple(getattr(route, "dependencies", ()) or ())
                yield route.path, route.methods, (*prefix, *own)

    return list(walk(app.routes))


def test_the_pages_of_the_tests_are_all_routes_there_are(served, pages):
    assert {path for path, _, _ in routes(served.app)} == {*pages, *OPEN}
    assert {path for path, methods, _ in routes(served.app) if methods - {"GET", "HEAD"}} == {
        "/login",
        "/logout",
    }


def test_every_other_route_depends_on_a_reader(served):
    for path, _, dependencies in routes(served.app):
        needs = any(one.dependency is reader for one in dependencies)
        assert needs == (path not in OPEN), path


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_without_a_token_there_is_only_the_login(served, pages, method):
    for address in pages.values():
        answer = served.ask(address, method=method)
        if method in ("GET", "HEAD"):
            assert answer.status == 303
            assert answer.headers["location"].startswith("/login")
        else:
            assert answer.status == 405
        assert "demo" not in answer.text
        assert "read-only" not in answer.text


@pytest.mark.parametrize(
    "told",
    ["Bearer", "Bearer ", "Bearer nonsense", "Basic dTpw", "nonsense", "Bearer " + "x" * 3000],
)
def test_a_wrong_bearer_is_told_so(start, tmp_path, told):
    served = start(tmp_path / "tokens.json")
    answer = served.ask("/", Authorization=told)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "demo" not in answer.text


def test_tokens_that_expired_were_revoked_or_belong_elsewhere_open_nothing(start, store, tmp_path):
    now = [time.time()]
    served = start(tmp_path / "tokens.json", clock=lambda: now[0])
    other, token = make("other", "texts", "another-store", 1)
    served.tokens.add(token)
    served.secrets["other"] = other
    assert served.ask("/", "other").status == 401
    assert served.ask("/", "read").status == 200
    served.tokens.revoke(store.database.store_id(), "with-read")
    assert served.ask("/", "read").status == 401
    assert served.ask("/", "texts").status == 200
    now[0] += 86_401
    assert served.ask("/", "texts").status == 401


def test_a_session_ends_with_its_token_with_its_time_and_by_logout(start, store, tmp_path):
    now = [time.time()]
    served = start(tmp_path / "tokens.json", clock=lambda: now[0])
    first, second, third = (served.log_in(served.secrets[one]) for one in ("read", "texts", "read"))
    assert [served.ask("/", Cookie=one).status for one in (first, second, third)] == [200] * 3
    answer = served.ask("/logout", method="POST", Cookie=first)
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert served.ask("/", Cookie=first).status == 303
    served.tokens.revoke(store.database.store_id(), "with-read")
    assert served.ask("/", Cookie=third).status == 303
    assert served.ask("/", Cookie=second).status == 200
    now[0] += SESSION_SECONDS + 1
    assert served.ask("/", Cookie=second).status == 303


def test_the_cookie_is_for_this_server_alone(served):
    answer = served.ask("/login", method="POST", body={"token": served.secrets["read"]})
    (cookie,) = answer.cookies
    told = {part.strip().lower().partition("=")[0] for part in cookie.split(";")[1:]}
    assert told == {"httponly", "samesite", "path", "max-age"}
    assert "samesite=strict" in cookie.lower()
    assert cookie.startswith(f"influence-store-{served.port}=")
    assert served.secrets["read"] not in cookie


def test_behind_tls_the_cookie_is_secure(served):
    answer = served.ask(
        "/login", method="POST", body={"token": served.secrets["read"]}, X_Forwarded_Proto="https"
    )
    assert "; secure" in answer.cookies[0].lower()


def test_the_token_of_the_run_leaves_the_address_at_once(served):
    answer = served.ask(f"/login?token={served.own}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert served.own not in answer.cookies[0]
    assert served.ask("/", Cookie=answer.cookies[0].split(";")[0]).status == 200


def test_a_stored_token_may_not_stand_in_an_address(start, tmp_path):
    served = start(tmp_path / "tokens.json")
    assert served.ask(f"/login?token={served.secrets['read']}").status == 401


def test_after_the_login_comes_the_page_that_was_asked_for(served):
    asked = served.ask("/datasets/demo/samples?sort=inf_ifd&page=2")
    form = served.ask(asked.headers["location"]).text
    assert 'name="next" value="/datasets/demo/samples?sort=inf_ifd&amp;page=2"' in form
    body = {"token": served.secrets["read"], "next": "/datasets/demo/samples?sort=inf_ifd&page=2"}
    answer = served.ask("/login", method="POST", body=body)
    assert answer.headers["location"] == "/datasets/demo/samples?sort=inf_ifd&page=2"


@pytest.mark.parametrize(
    "there",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
        "/\tevil",
        "/é",
        "",
    ],
)
def test_a_login_leads_nowhere_else(served, there):
    body = {"token": served.secrets["read"], "next": there}
    answer = served.ask("/login", method="POST", body=body)
    assert answer.headers["location"] == "/"
    assert len(answer.cookies) == 1


def test_wrong_tokens_wait_and_are_counted_but_right_ones_always_open(start, tmp_path):
    now = [time.time()]
    served = start(tmp_path / "tokens.json", clock=lambda: now[0])
    statuses = [
        served.ask("/login", method="POST", body={"token": "x"}).status
        for _ in range(MOST_WRONG_PER_MINUTE + 3)
    ]
    assert statuses == [401] * MOST_WRONG_PER_MINUTE + [429] * 3
    assert served.ask("/", Authorization="Bearer x").headers["retry-after"] == "60"
    served.log_in(served.secrets["read"])
    now[0] += 61
    assert served.ask("/login", method="POST", body={"token": "x"}).status == 401


def test_scope_read_sees_no_text_on_any_page(served, pages, known):
    """The same pages do have texts for who may see them, so that this test can fail."""
    phrases = [asked.partition("{")[0].strip() for asked, _ in ASKED]
    phrases += ["window.harmed", "kind-0", "7 * 7", "multiplies by"]
    more = [
        "/datasets/demo/samples?rows=200",
        *[f"/selections/{one}" for one in known.selections.values()],
        f"/selections/{known.selections['facility-location on cosine']}/explain/{known.outside}",
        f"/samples/{known.inside}",
    ]
    seen = {"read": set(), "texts": set()}
    for address in [*pages.values(), *more]:
        for scope, found in seen.items():
            text = served.ask(address, scope).text
            found |= {(address, one) for one in phrases if one in text}
    assert seen["read"] == set()
    assert len({address for address, _ in seen["texts"]}) >= 8


def test_scope_read_may_not_ask_what_texts_contain(served):
    answer = served.ask("/datasets/demo/samples?text=window", "read")
    assert answer.status == 403
    assert "token new --name NAME --scope texts" in answer.text
    assert 'name="text"' not in served.ask("/datasets/demo/samples", "read").text


def test_every_answer_has_the_headers(served, pages):
    asked = [("/login", None), ("/style.css", None), ("/", None), ("/?" + "x" * 9000, "read")]
    asked += [(address, "read") for address in pages.values()]
    for address, scope in asked:
        headers = served.ask(address, scope).headers
        assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS, address
        assert "server" not in headers
    assert SCRIPT not in served.ask("/login?next=" + "%3Cscript%3E").text
