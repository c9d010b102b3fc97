"""The word problems are right: every one is solved again, from the question alone."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from fractions import Fraction

import pytest

from influence_store.demo.word_problems import word_problems
from influence_store.demo.wordings import WORDINGS

PROBLEMS = word_problems(660, seed=2026)
EQUATION = re.compile(r"([\d.]+(?: [-+×÷] [\d.]+)+) = ([\d.]*\d)")
MONTHS = "January February March April May June July August September October November December"
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def _wage(hourly, hours):
    return hourly * 40 + (hours - 40) * hourly * Fraction(3, 2)


def _ratio(total, a, b):
    return total * a / (a + b), total * b / (a + b)


#: The numbers of a question, in their order → the numbers of its answer.
SOLUTIONS = {
    "change": lambda n, price, paid: paid - n * price,
    "packing": divmod,
    "distance": lambda speed, hours: speed * hours,
    "duration": lambda km, speed: km / speed,
    "average": lambda *scores: sum(scores) / 4,
    "discount": lambda price, percent: price * (100 - percent) / 100,
    "fence": lambda length, width, cost: 2 * (length + width) * cost,
    "recipe": lambda base, flour, wanted: flour / base * wanted,
    "ages": lambda age, older, years: 2 * age + older + 2 * years,
    "reading": lambda pages, per_day: -(-pages // per_day),
    "metres": lambda km, extra: 1000 * km + extra,
    "portions": lambda kg, grams: 1000 * kg / grams,
    "fahrenheit": lambda celsius: celsius * Fraction(9, 5) + 32,
    "saving": lambda goal, has, weekly: (goal - has) / weekly,
    "fraction": lambda above, below, total: total * (1 - above / below),
    "tank": lambda litres, inflow, out: litres / (inflow - out),
    "wage": _wage,
    "outfits": lambda a, b, c: a * b * c,
    "angle": lambda a, b: 180 - a - b,
}


def numbers(text):
    return [Fraction(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def answer(problem):
    body, _, last = problem.response.rpartition("\nAnswer: ")
    assert body
    return last


def of(family):
    found = [problem for problem in PROBLEMS if problem.family == family]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("family", sorted(SOLUTIONS))
def test_answer_follows_from_the_numbers_of_the_question(family):
    for problem in of(family):
        solved = SOLUTIONS[family](*numbers(problem.prompt))
        expected = list(solved) if isinstance(solved, tuple) else [solved]
        assert numbers(answer(problem)) == expected, problem


def test_shares_are_in_the_ratio_and_named():
    for problem in of("ratio"):
        first, second = re.findall(r"(\w+) \$(\d+)", answer(problem))
        total, a, b = numbers(problem.prompt)
        assert (int(first[1]), int(second[1])) == _ratio(total, a, b)
        assert problem.prompt.index(first[0]) < problem.prompt.index(second[0])


def test_sequence_goes_on_step_by_step():
    for problem in of("sequence"):
        found = [int(n) for n in numbers(problem.prompt)]
        nth = found.pop(-1) if "goes on" in problem.prompt else found.pop(0)
        term, step = found[0], found[1] - found[0]
        assert found[2] - found[1] == step
        for _ in range(nth - 1):
            term += step
        assert answer(problem) == str(term)


def test_clock_times_are_right():
    for problem in of("clock"):
        start, minutes = re.search(r"(\d\d:\d\d)\D+(\d+) minutes", problem.prompt).groups()
        end = datetime.strptime(start, "%H:%M") + timedelta(minutes=int(minutes))
        assert answer(problem) == end.strftime("%H:%M")


def test_dates_are_right():
    for problem in of("later"):
        days = int(re.search(r"(\d+) days", problem.prompt)[1])
        assert _date(answer(problem)) - _date(problem.prompt) == timedelta(days=days)


def test_weekdays_are_right():
    for problem in of("weekday"):
        first = next(day for day in DAYS if day in problem.prompt)
        days = int(re.search(r"(\d+) days", problem.prompt)[1])
        monday = date(2024, 1, 1)
        then = monday + timedelta(days=DAYS.index(first) + days)
        assert answer(problem) == DAYS[then.weekday()]


def test_every_equation_of_the_working_holds():
    checked = 0
    for problem in PROBLEMS:
        for left, right in re.findall(
            r"([\d.]+(?: [-+×÷] [\d.]+)+) = ([\d.]*\d)", problem.response
        ):
            value = re.sub(r"[\d.]+", lambda n: f"Fraction('{n[0]}')", left)
            value = value.replace("×", "*").replace("÷", "/")
            assert eval(value) == Fraction(right), problem
            checked += 1
    assert checked > len(PROBLEMS)


def test_every_family_is_covered_and_every_wording_used():
    assert {problem.family for problem in PROBLEMS} == set(WORDINGS)
    for family, wording in WORDINGS.items():
        for question in wording.questions:
            pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(question))
            assert any(re.fullmatch(pattern, problem.prompt) for problem in of(family)), question


def test_prompts_differ_and_the_seed_decides():
    assert len({problem.prompt for problem in PROBLEMS}) == len(PROBLEMS)
    assert word_problems(100, seed=5) == word_problems(100, seed=5)
    assert word_problems(100, seed=5) != word_problems(100, seed=6)


def _date(text):
    day, month, year = re.search(r"(\d+) ([A-Z]\w+) (\d{4})", text).groups()
    return date(int(year), MONTHS.split().index(month) + 1, int(day))
