"""Every page shows what the jobs of the command line say, on a small real store."""

from __future__ import annotations

import html
import re
import time

import pytest
from small_store import HOSTILE_FILE, SCRIPT

from influence_store.jobs.compare_selections import compare_selections
from influence_store.jobs.explain import explain
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.trial_past import trials_of
from influence_store.query import query
from influence_store.query.engine import Limits
from influence_store.query.relation import view
from influence_store.serve import record, sample_facts


def cells(page: str) -> list[list[str]]:
    """Texts of the cells of every table row."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.S)
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        for row in rows
    ]


def ids(page: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="id" href="/samples/([0-9a-f]{32})"', page)


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.mark.parametrize("scope", ["read", "texts"])
def test_every_page_renders(served, pages, scope):
    for route, address in pages.items():
        answer = served.ask(address, scope)
        expected = {"/{path:path}": 404, "/selections/{name}/explain": 303}.get(route, 200)
        assert answer.status == expected, (address, words(answer.text))
        if answer.status != 303:
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert re.search(r"<title>[^<]+ · influence-store</title>", answer.text)
            assert answer.text.count("<h1") == 1


def test_first_page_tells_what_each_dataset_has_and_lacks(served):
    page = served.ask("/", "read").text
    rows = {row[0]: row[1:] for row in cells(page)}
    assert rows["demo"][:5] == ["@2", "84", "all", "76 of 84", "all"]
    assert rows["demo"][5] == "before-summer = @1"
    assert rows["exam"][:5] == ["@1", "60", "all", "all", "all"]


def test_dataset_page_has_versions_sources_and_verdicts(served, store):
    page = served.ask("/datasets/demo", "read").text
    assert "<h1>demo@2</h1>" in page
    rows = {row[0]: row[1:] for row in cells(page)}
    assert rows["inf_ifd"][2:] == ["76 of 84", "a measured value"]
    (verdict,) = (
        query(store, "select verdict from estimators where name = 'ifd-student'")
        .column(0)
        .to_pylist()
    )
    assert rows["est_ifd_student"][2:] == ["84 of 84", verdict]
    assert rows["@1"][0] == "76"
    assert rows["@1"][2] == "before-summer"
    (hostile,) = [row for name, row in rows.items() if name.endswith("onerror='harmed=1'>.jsonl")]
    assert hostile == ["16", "19.0%"]
    assert "<h1>demo@1</h1>" in served.ask("/datasets/demo@before-summer", "read").text


@pytest.mark.parametrize("way", ["asc", "desc"])
def test_samples_come_in_the_order_of_a_column(served, store, way):
    wanted = view(store, "demo@2").select("sample_id")
    wanted = wanted.order_by(f"inf_ifd {way} nulls last", "sample_id").limit(50)
    page = served.ask(f"/datasets/demo@2/samples?sort=inf_ifd&order={way}", "read").text
    assert ids(page) == wanted.polars()["sample_id"].to_list()
    told = {"asc": "ascending", "desc": "descending"}[way]
    assert re.findall(r'aria-sort="(\w+)"', page) == [told]


def test_pages_of_samples_are_a_partition_of_the_rows(served):
    found = [
        ids(served.ask(f"/datasets/demo@2/samples?rows=30&page={k}&sort=prompt_chars", "read").text)
        for k in (1, 2, 3)
    ]
    assert [len(one) for one in found] == [30, 30, 24]
    assert len({one for part in found for one in part}) == 84
    beyond = served.ask("/datasets/demo@2/samples?rows=30&page=4", "read").text
    assert "84 rows" in words(beyond)
    assert "No row on this page" in beyond


def test_samples_of_a_source_and_with_a_text(served, store):
    (file,) = {
        one
        for one in view(store, "demo@1").select("file").polars()["file"]
        if one.endswith(HOSTILE_FILE)
    }
    page = served.ask("/datasets/demo@1", "texts").text
    links = [html.unescape(one) for one in re.findall(r'href="([^"]*source=[^"]*)"', page)]
    sizes = [len(ids(served.ask(one, "texts").text)) for one in links]
    assert sorted(sizes) == [16, 50]  # of 60, a page holds 50
    wanted = view(store, "demo@1").where("contains(lower(prompt), 'colour') or file = $f", f=file)
    assert wanted.count() == 16
    found = served.ask("/datasets/demo@1/samples?text=IS+THIS+SAFE", "texts").text
    assert len(ids(found)) == 1
    assert "1 row that fit" in words(found)


def test_sample_page_has_the_whole_text_values_and_selections(served, store, known):
    page = served.ask(f"/samples/{known.hostile[:10]}", "texts").text
    assert html.escape(SCRIPT, quote=False) in page.replace("&#34;", '"')
    assert SCRIPT not in page
    (row,) = view(store, "demo@1").where("sample_id = $id", id=known.hostile).polars().to_dicts()
    rows = {one[0]: one[1:] for one in cells(page)}
    assert rows["inf_ifd"][0] == f"{row['inf_ifd']:.4g}"
    low, high = (f"{row[f'est_delift_l2_{end}']:.4g}" for end in ("low", "high"))
    assert rows["est_delift_l2"][1] == f"{low} to {high}".replace("-", "−")
    assert rows["est_ifd_student"][1] == ""
    assert "versions 1, 2" in words(page)
    holding = query(
        store,
        "select selection from selection_items where sample_id = $id",
        {"id": known.hostile},
    )
    assert {one for one in rows if re.fullmatch("[0-9a-f]{12}", one)} == set(
        holding.column(0).to_pylist()
    )


def test_selection_page_has_baselines_picks_and_a_curve(served, store, known):
    name = known.selections["facility-location on cosine"]
    page = served.ask(f"/selections/{name}", "read").text
    stored = stored_selection(store, name)
    baselines = stored.row.facts["baselines"]
    rows = {one[0]: one[1:] for one in cells(page)}
    assert rows["this selection"][0] == f"{baselines['value']:.4g}"
    assert rows["k-center"][0] == f"{baselines['references']['k-center']['value']:.4g}"
    order = ids(page)
    assert len(order) == len(stored.sids)
    gains = [float(one[2]) for one in cells(page) if len(one) == 4 and one[3].startswith("why")]
    assert gains == pytest.approx(stored.gains.tolist(), rel=1e-3)
    points = re.search(r'class="gain" points="([^"]+)"', page)
    assert points
    heights = [float(one.split(",")[1]) for one in points[1].split()]
    assert len(heights) == len(stored.sids) + 1
    assert heights[0] == 240
    assert heights[-1] == 0
    assert heights == sorted(heights, reverse=True)


def test_selection_page_has_what_trials_found(served, store, known):
    name = known.selections["facility-location on cosine"]
    page = served.ask(f"/selections/{name}", "read").text
    (trial,) = trials_of(store, name)
    found = {one[0]: one[1:] for one in cells(page) if len(one) == 4}
    assert f"judged by {trial['held']} of the rows of demo@1" in words(page)
    assert len(trial["comparisons"]) == 5
    for one in trial["comparisons"]:
        assert found[one["against"]][0].replace("−", "-") == f"{one['mean']:.4g}"
        assert found[one["against"]][2] == one["verdict"]
    assert "Nobody has tried" not in page
    other = served.ask(f"/selections/{known.selections['graph-cut']}", "read").text
    assert "Nobody has tried" in other
    assert "influence-store trial demo@1 --selection" in other


def test_a_selector_and_a_blind_kernel_have_no_curve(served, known):
    of_selector = words(served.ask(f"/selections/{known.selections['k-center']}", "read").text)
    assert "keeps no gains that add up" in of_selector
    page = served.ask(f"/selections/{known.selections['top']}", "read").text
    assert "polyline" not in page


@pytest.mark.parametrize("which", ["inside", "outside"])
def test_explanation_says_what_explain_says(served, store, known, which):
    name, sample = known.selections["facility-location on cosine"], getattr(known, which)
    (one,) = explain(store, name, [sample], top=5).samples
    page = served.ask(f"/selections/{name}/explain/{sample[:12]}", "read").text
    if which == "inside":
        assert f"{one.gain:.4g}" in words(page)
        assert f"rank {one.sample.rank} of 16" in words(page)
    else:
        assert one.because in words(page)
    named = one.served if which == "inside" else one.twins
    assert named
    assert all(near.sample.sample_id in page for near in named)


def test_the_form_of_explain_leads_to_the_page(served, known):
    name = known.selections["top"]
    answer = served.ask(f"/selections/{name}/explain?sample={known.inside}", "read")
    assert answer.headers["location"] == f"/selections/{name}/explain/{known.inside}"


def test_comparison_adds_up(served, store, known):
    a, b = known.selections["facility-location on cosine"], known.selections["graph-cut"]
    first, second = (set(stored_selection(store, one).sids.tolist()) for one in (a, b))
    told = compare_selections(store, a[:6], b)
    assert (told.n_only_first, told.n_only_second, told.n_both) == (
        len(first - second),
        len(second - first),
        len(first & second),
    )
    assert told.jaccard == len(first & second) / len(first | second)
    assert sum(one.only_first + one.both for one in told.sources) == len(first)
    assert sum(one.only_second + one.both for one in told.sources) == len(second)
    assert [one.rank for one in told.only_first] == sorted(one.rank for one in told.only_first)
    page = words(served.ask(f"/compare?a={a[:6]}&b={b}", "read").text)
    assert f"Jaccard (1 = the same samples) {told.jaccard:.3f}" in page
    assert compare_selections(store, a, a).jaccard == 1.0


def test_estimators_tell_their_cards_in_words_and_numbers(served, store):
    page = served.ask("/estimators", "read").text
    cards = query(store, "select name, verdict from estimators").to_pylist()
    for card in cards:
        assert f"{card['name']} {card['verdict']}" in words(page)
    assert "Learnt from the scores of" in page
    assert "labelled pairs of" in page


def test_runs_can_be_narrowed(served, store):
    page = served.ask("/runs?verb=select", "read").text
    n = query(store, "select count(*) from runs where verb = 'select'").column(0)[0].as_py()
    assert len([row for row in cells(page) if row[1:2] == ["select"]]) == n == len(cells(page)) - 1
    assert "No run fits" in served.ask("/runs?verb=nothing", "read").text
    assert "Show up to 8" in words(served.ask("/runs?limit=2", "read").text)


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("/datasets/dem", 404, "did you mean demo"),
        ("/datasets/demo@9", 404, "versions 1 to 2"),
        ("/datasets/demo@befor-summer", 404, "did you mean before-summer?"),
        ("/datasets/demo/samples?sort=inf_idf", 404, "did you mean inf_ifd"),
        ("/datasets/demo/samples?rows=0", 400, "rows must be a whole number from 1 to 200"),
        ("/datasets/demo/samples?rows=9999", 400, "rows must be"),
        ("/datasets/demo/samples?page=-1", 400, "page must be"),
        ("/samples/ffffffffffffffffffffffffffffffff", 404, "no sample id begins with"),
        ("/selections/zzzz", 404, "no selection named"),
        ("/selection", 404, "did you mean selections?"),
        ("/compare?a=zz&b=zz", 404, "no selection named"),
    ],
)
def test_errors_are_pages_that_say_what_to_do(served, address, status, told):
    answer = served.ask(address, "read")
    assert answer.status == status
    assert told in words(answer.text)
    assert "Log out" in answer.text
    assert "Traceback" not in answer.text


def test_head_is_get_without_a_body(served, pages):
    for address in ("/", "/style.css", "/login", pages["/samples/{name}"]):
        whole, head = served.ask(address, "read"), served.ask(address, "read", method="HEAD")
        assert head.text == ""
        assert head.status == whole.status
        assert head.headers["content-length"] == whole.headers["content-length"]


def test_a_page_that_takes_too_much_is_stopped_and_says_so(served, monkeypatch):
    monkeypatch.setattr(sample_facts, "LIMITS", Limits(memory=1))
    answer = served.ask("/datasets/demo/samples", "read")
    assert answer.status == 503
    assert "more time or memory than a page may have" in answer.text


def test_a_bug_is_told_in_the_terminal_and_not_in_the_page(served, monkeypatch, caplog):
    def broken(_store):
        raise RuntimeError("what only we should read")

    monkeypatch.setattr(record, "cards", broken)
    answer = served.ask("/estimators", "read")
    assert answer.status == 500
    assert "only we should read" not in answer.text
    assert answer.headers["content-security-policy"]
    (incident,) = re.findall(r"incident ([0-9a-f]{8})", answer.text)
    late = time.monotonic() + 30  # it is told behind the answer
    while "only we should read" not in caplog.text and time.monotonic() < late:
        time.sleep(0.01)
    assert f"incident {incident}" in caplog.text
    assert "what only we should read" in caplog.text
