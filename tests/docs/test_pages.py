"""Every code block of README.md and docs/ runs, or is parsed and named with the reason."""

from __future__ import annotations

import ast
import re

import pytest
from docs_blocks import ROOT, SHELL, Block, blocks, commands, lines, pages
from docs_runner import PROGRAM, Page, check_foreign, check_shown, check_words
from docs_substitutes import APART, FOREIGN_NEEDS, SUBSTITUTES

PAGES = pages()
#: These begin in a folder that holds files alone: `init` is their first command.
FRESH = [page for page in PAGES if page.startswith("docs/how-to/")]


@pytest.mark.parametrize("page", [one for one in PAGES if blocks(one)])
def test_the_blocks_of_a_page_run(page, world, elsewhere, monkeypatch, needs_folder):
    folder = world.copy(elsewhere, fresh=page in FRESH)
    monkeypatch.chdir(folder)
    running = Page(folder, world.llm)
    for block in blocks(page):
        running.run(block)


def test_the_list_of_what_is_not_run_names_what_exists_and_why():
    for one in APART:
        found = [block for block in blocks(one.page) if one.begins in block.text]
        assert found, f"no block of {one.page} holds {one.begins!r}"
        if one.begins.startswith(PROGRAM):
            assert one.why.startswith(FOREIGN_NEEDS), one
        assert len(one.why) > 15


def test_every_substitute_stands_for_something_in_the_pages():
    text = "\n".join(block.text for page in PAGES for block in blocks(page))
    assert [one for one in SUBSTITUTES if not re.search(one, text, re.MULTILINE)] == []


def test_every_block_says_its_language():
    assert [one.place for page in PAGES for one in blocks(page) if not one.language] == []


def test_python_blocks_are_python_even_where_they_are_not_run():
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python":
                ast.parse(block.text, block.place)


def anchors(page):
    """What a heading is called in a link, as code hosts do it."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        here = ROOT / page
        for target in re.findall(r"\]\(([^)\s]+)\)", here.read_text("utf-8")):
            if "://" not in target:
                path, _, anchor = target.partition("#")
                there = (here.parent / path) if path else here
                assert there.exists(), f"{page}: {target}"
                assert not anchor or anchor in anchors(there), f"{page}: {target}"


# -- the tests of these tests: a page that is wrong is found -----------------------------------


def page_of(text: str, language: str = "console") -> list[Block]:
    return blocks("wrong.md", f"# A page\n\n```{language}\n{text}\n```\n")


@pytest.mark.parametrize(
    "text",
    [
        "$ influence-store ingst chats.jsonl --dataset d",
        "$ influence-store ingest chats.jsonl --datast d",
        "$ influence-store fill no-such-dataset",
        "$ influence-store log --limit few",
        "$ influence-store init\ncreated something else",
        "$ influence-store status\nerror[IS400]: it does not fail",
        "$ some-program --that is not listed",
        "$ pip install 'influence-store[no-such-extra]'",
        "$ make no-such-target",
    ],
)
def test_a_wrong_command_is_found(text, elsewhere, monkeypatch, needs_folder):
    monkeypatch.chdir(elsewhere)
    page = Page(elsewhere, "no-model")
    if "status" in text or "fill" in text or "log" in text:
        page.run(*page_of("$ influence-store init"))
    with pytest.raises(AssertionError, match=r"wrong\.md:4"):
        page.run(*page_of(text))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "import influence_store\ninfluence_store.opne()"),
        ("json", '{"a": }'),
        ("yaml", "a: [b"),
        ("yaml", "jobs: {a: {steps: [{run: influence-store log --no-such-option}]}}"),
        ("toml", "a = "),
        ("rust", "fn main() {}"),
    ],
)
def test_another_wrong_block_is_found(elsewhere, monkeypatch, language, text):
    monkeypatch.chdir(elsewhere)
    with pytest.raises(AssertionError, match=r"wrong\.md:4"):
        Page(elsewhere, "no-model").run(*page_of(text, language))


def test_a_wrong_verb_or_option_of_a_line_that_is_not_run_is_found():
    (block,) = page_of("$ influence-store --store s3://b/x init --databse postgresql://h/n")
    ((number, line, _),) = lines(block)
    with pytest.raises(Exception, match="databse"):
        check_words(commands(block, number, line)[0])


def test_output_that_is_shown_may_differ_in_numbers_alone():
    (block,) = page_of("$ influence-store status\n12 rows of 3,400, a…z\n\nthe end")
    ((number, line, shown),) = lines(block)
    (command,) = commands(block, number, line, shown)
    check_shown(command, "first\n99 rows of 1.5, abcz\nthe end\n")
    for wrong in ("99 rows of 1.5, abc\nthe end", "the end\n99 rows of 1.5, abcz", ""):
        with pytest.raises(AssertionError, match="not printed"):
            check_shown(command, wrong)


def test_an_option_of_a_script_that_is_not_there_is_found():
    (block,) = page_of("$ python tests/cli_reference.py --no-such-option")
    ((number, line, _),) = lines(block)
    with pytest.raises(AssertionError, match="has no --no-such-option"):
        check_foreign(commands(block, number, line)[0])
    assert set(SHELL) <= {one.language for page in PAGES for one in blocks(page)}
