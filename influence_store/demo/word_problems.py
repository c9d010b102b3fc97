"""Arithmetic, unit and calendar word problems with worked answers, made by program.

Each family draws its numbers, computes the answer exactly (integers, cents or dates) and words
the question in several ways. The same seed gives the same problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.demo.wordings import WORDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

Fields = dict[str, Any]

_PEOPLE = (
    *("Amara", "Bruno", "Chen", "Dalia", "Emeka", "Freya", "Goran", "Hana", "Ivo", "Jaya"),
    *("Kofi", "Lena", "Mateo", "Nadia", "Oskar", "Priya", "Quinn", "Rosa", "Samir", "Tess"),
)
_THINGS = (
    *("notebooks", "candles", "apples", "light bulbs", "tickets", "batteries", "mugs", "roses"),
    *("paint brushes", "bagels", "lemons", "stamps", "scarves", "marbles", "postcards", "plates"),
)
_VEHICLES = ("train", "bus", "car", "lorry", "delivery van")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Problem:
    """One question with its worked answer; the last line of `response` is the result."""

    family: str
    prompt: str
    response: str


def word_problems(count: int, *, seed: int) -> list[Problem]:
    """`count` problems with different prompts, the families taking turns."""
    rng = np.random.default_rng(seed)
    families = list(WORDINGS)
    made: dict[str, Problem] = {}
    turn = 0
    while len(made) < count:
        problem = _make(families[turn % len(families)], rng)
        made.setdefault(problem.prompt, problem)
        turn += 1
    return list(made.values())


def _make(family: str, rng: np.random.Generator) -> Problem:
    wording = WORDINGS[family]
    name, other = rng.choice(len(_PEOPLE), size=2, replace=False)
    fields = {
        "name": _PEOPLE[name],
        "other": _PEOPLE[other],
        "things": _THINGS[int(rng.integers(len(_THINGS)))],
        **_DRAWS[family](rng),
    }
    question = wording.questions[int(rng.integers(len(wording.questions)))]
    response = f"{wording.working}\nAnswer: {wording.result}"
    return Problem(family, question.format(**fields), response.format(**fields))


def _change(rng: np.random.Generator) -> Fields:
    n, cents = _int(rng, 2, 9), 25 * _int(rng, 3, 30)
    total = n * cents
    paid = 100 * (total // 100 + _int(rng, 1, 12))
    return {
        "n": n,
        "price": _money(cents),
        "paid": _money(paid),
        "total": _money(total),
        "change": _money(paid - total),
    }


def _packing(rng: np.random.Generator) -> Fields:
    per, boxes = _int(rng, 4, 15), _int(rng, 5, 40)
    rest = _int(rng, 1, per - 1)
    used = per * boxes
    return {"total": used + rest, "per": per, "boxes": boxes, "used": used, "rest": rest}


def _distance(rng: np.random.Generator) -> Fields:
    speed, hours = 2 * _int(rng, 6, 60), _int(rng, 2, 9)
    vehicle = _VEHICLES[int(rng.integers(len(_VEHICLES)))] if speed > 40 else "cyclist"
    return {"vehicle": vehicle, "speed": speed, "hours": hours, "km": speed * hours}


def _duration(rng: np.random.Generator) -> Fields:
    speed, hours = 5 * _int(rng, 8, 24), _int(rng, 2, 12)
    return {"speed": speed, "hours": hours, "km": speed * hours}


def _average(rng: np.random.Generator) -> Fields:
    a, b, c = (_int(rng, 11, 95) for _ in range(3))
    d = _int(rng, 3, 20) * 4 - (a + b + c) % 4
    total = a + b + c + d
    return {"a": a, "b": b, "c": c, "d": d, "total": total, "mean": total // 4}


def _discount(rng: np.random.Generator) -> Fields:
    price, percent = 20 * _int(rng, 2, 40), 5 * _int(rng, 1, 12)
    off = price * percent // 100
    return {"price": price, "percent": percent, "off": off, "now": price - off}


def _fence(rng: np.random.Generator) -> Fields:
    length, width, cost = _int(rng, 12, 60), _int(rng, 5, 11), _int(rng, 4, 25)
    around = 2 * (length + width)
    half = length + width
    return {
        "length": length,
        "width": width,
        "cost": cost,
        "half": half,
        "around": around,
        "price": around * cost,
    }


def _recipe(rng: np.random.Generator) -> Fields:
    base, grams, times = _int(rng, 4, 12), _int(rng, 12, 50), _int(rng, 2, 7)
    return {
        "base": base,
        "flour": base * grams,
        "wanted": base * times,
        "each": grams,
        "need": base * times * grams,
    }


def _ages(rng: np.random.Generator) -> Fields:
    age, older, years = _int(rng, 6, 40), _int(rng, 2, 25), _int(rng, 2, 15)
    then, other_then = age + years, age + older + years
    return {
        "age": age,
        "older": older,
        "years": years,
        "now": age + older,
        "then": then,
        "other_then": other_then,
        "sum": then + other_then,
    }


def _reading(rng: np.random.Generator) -> Fields:
    per_day, full = _int(rng, 11, 45), _int(rng, 4, 20)
    rest = _int(rng, 1, per_day - 1)
    return {
        "pages": per_day * full + rest,
        "per_day": per_day,
        "full": full,
        "read": per_day * full,
        "rest": rest,
        "days": full + 1,
    }


def _metres(rng: np.random.Generator) -> Fields:
    km, extra = _int(rng, 2, 30), 50 * _int(rng, 1, 19)
    return {"km": km, "extra": extra, "whole": km * 1000, "metres": km * 1000 + extra}


def _portions(rng: np.random.Generator) -> Fields:
    grams, bags = 50 * _int(rng, 1, 10), 20 * _int(rng, 1, 6)
    return {
        "kg": _decimal(grams * bags, 1000),
        "all_grams": grams * bags,
        "grams": grams,
        "bags": bags,
    }


def _clock(rng: np.random.Generator) -> Fields:
    start, lasts = 5 * _int(rng, 84, 220), 5 * _int(rng, 7, 50)
    end = start + lasts
    return {
        "start": f"{start // 60:02}:{start % 60:02}",
        "lasts": lasts,
        "hours": lasts // 60,
        "minutes": lasts % 60,
        "whole": lasts // 60 * 60,
        "end": f"{end // 60 % 24:02}:{end % 60:02}",
    }


def _later(rng: np.random.Generator) -> Fields:
    day = date(2024, 1, 1) + timedelta(days=_int(rng, 0, 2500))
    days = _int(rng, 8, 90)
    month_end = (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    left = (month_end - day).days
    after = day + timedelta(days=days)
    return {"day": _day(day), "days": days, "left": left, "after": _day(after)}


def _weekday(rng: np.random.Generator) -> Fields:
    first, days = _int(rng, 0, 6), _int(rng, 9, 99)
    return {
        "first": _DAYS[first],
        "days": days,
        "weeks": days // 7,
        "whole": days // 7 * 7,
        "rest": days % 7,
        "weekday": _DAYS[(first + days) % 7],
    }


def _sequence(rng: np.random.Generator) -> Fields:
    first, step, nth = _int(rng, 1, 30), _int(rng, 2, 14), _int(rng, 8, 40)
    return {
        "a": first,
        "b": first + step,
        "c": first + 2 * step,
        "step": step,
        "nth": nth,
        "steps": nth - 1,
        "rise": step * (nth - 1),
        "term": first + step * (nth - 1),
    }


def _fahrenheit(rng: np.random.Generator) -> Fields:
    celsius = 5 * _int(rng, 1, 40)
    scaled = celsius * 9 // 5
    return {"celsius": celsius, "nine": celsius * 9, "scaled": scaled, "f": scaled + 32}


def _ratio(rng: np.random.Generator) -> Fields:
    a, b, part = _int(rng, 2, 7), _int(rng, 2, 7), _int(rng, 6, 60)
    return {
        "a": a,
        "b": b,
        "parts": a + b,
        "total": (a + b) * part,
        "part": part,
        "first": a * part,
        "second": b * part,
    }


def _saving(rng: np.random.Generator) -> Fields:
    weekly, weeks, has = _int(rng, 6, 40), _int(rng, 4, 30), _int(rng, 10, 90)
    missing = weekly * weeks
    return {
        "goal": has + missing,
        "has": has,
        "weekly": weekly,
        "missing": missing,
        "weeks": weeks,
    }


def _fraction(rng: np.random.Generator) -> Fields:
    below, one = _int(rng, 3, 9), _int(rng, 7, 60)
    above = _int(rng, 2, below - 1) if below > 3 else 2
    total = below * one
    return {
        "above": above,
        "below": below,
        "total": total,
        "one": one,
        "taken": one * above,
        "left": total - one * above,
    }


def _tank(rng: np.random.Generator) -> Fields:
    out, net, minutes = _int(rng, 2, 9), _int(rng, 3, 20), _int(rng, 8, 45)
    return {
        "litres": net * minutes,
        "inflow": net + out,
        "out": out,
        "net": net,
        "minutes": minutes,
    }


def _wage(rng: np.random.Generator) -> Fields:
    hourly, extra = 2 * _int(rng, 6, 20), _int(rng, 2, 12)
    normal, over = 40 * hourly, hourly * 3 // 2
    return {
        "hourly": hourly,
        "hours": 40 + extra,
        "extra": extra,
        "normal": normal,
        "over": over,
        "more": extra * over,
        "pay": normal + extra * over,
    }


def _outfits(rng: np.random.Generator) -> Fields:
    a, b, c = _int(rng, 3, 12), _int(rng, 2, 8), _int(rng, 2, 6)
    return {"a": a, "b": b, "c": c, "pairs": a * b, "all": a * b * c}


def _angle(rng: np.random.Generator) -> Fields:
    a, b = _int(rng, 15, 88), _int(rng, 15, 88)
    return {"a": a, "b": b, "known": a + b, "third": 180 - a - b}


def _int(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _decimal(value: int, unit: int) -> str:
    return f"{value / unit:g}"


def _day(day: date) -> str:
    # Written out here: strftime would follow the machine's language.
    months = "January February March April May June July August September October November December"
    return f"{day.day} {months.split()[day.month - 1]} {day.year}"


_DRAWS: dict[str, Callable[[np.random.Generator], Fields]] = {
    "change": _change,
    "packing": _packing,
    "distance": _distance,
    "duration": _duration,
    "average": _average,
    "discount": _discount,
    "fence": _fence,
    "recipe": _recipe,
    "ages": _ages,
    "reading": _reading,
    "metres": _metres,
    "portions": _portions,
    "clock": _clock,
    "later": _later,
    "weekday": _weekday,
    "sequence": _sequence,
    "fahrenheit": _fahrenheit,
    "ratio": _ratio,
    "saving": _saving,
    "fraction": _fraction,
    "tank": _tank,
    "wage": _wage,
    "outfits": _outfits,
    "angle": _angle,
}
