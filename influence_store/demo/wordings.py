"""How the word problems are worded: questions, working and result of each family, as text.

A family's questions name their numbers in the same order, so a test can read them back.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """Texts to fill in: several ways to ask, the working, and the result."""

    questions: tuple[str, ...]
    working: str
    result: str


WORDINGS: dict[str, Wording] = {
    "change": Wording(
        (
            "{name} buys {n} {things} at ${price} each and pays with ${paid}. How much change does "
            "{name} get?",
            "Each of the {n} {things} in the basket costs ${price}. {name} hands over ${paid}. "
            "What change is due?",
            "At the shop {name} takes {n} {things} for ${price} apiece and gives the cashier "
            "${paid}. How many dollars come back?",
        ),
        "{n} {things} cost {n} × {price} = {total} dollars.\n"
        "The change is {paid} - {total} = {change} dollars.",
        "${change}",
    ),
    "packing": Wording(
        (
            "{total} {things} are packed into boxes of {per}. How many boxes are full, and how "
            "many {things} are left over?",
            "A shop has {total} {things} and puts {per} in every box. Count the full boxes and "
            "the {things} that remain.",
            "{name} sorts {total} {things} into groups of {per}. How many complete groups are "
            "there and what remains?",
        ),
        "{boxes} × {per} = {used}, the largest multiple of {per} that fits.\n"
        "{total} - {used} = {rest} remain, fewer than {per}.",
        "{boxes} full, {rest} left over",
    ),
    "distance": Wording(
        (
            "A {vehicle} keeps a speed of {speed} km/h for {hours} hours. How far does it get?",
            "Travelling at {speed} kilometres per hour, what distance does a {vehicle} cover in "
            "{hours} hours?",
        ),
        "Distance is speed times time: {speed} × {hours} = {km}.",
        "{km} km",
    ),
    "duration": Wording(
        (
            "Two cities are {km} km apart. How long does a drive between them take at a steady "
            "{speed} km/h?",
            "{name} has {km} kilometres to drive and averages {speed} kilometres per hour. How "
            "many hours is that?",
        ),
        "Time is distance divided by speed: {km} ÷ {speed} = {hours}.",
        "{hours} hours",
    ),
    "average": Wording(
        (
            "Find the mean of {a}, {b}, {c} and {d}.",
            "{name} scored {a}, {b}, {c} and {d} points in a tournament. What is the average "
            "score per game?",
            "On consecutive days a bakery sold {a}, {b}, {c} and {d} loaves. How many were sold "
            "per day on average?",
        ),
        "Add them up: {a} + {b} + {c} + {d} = {total}.\n"
        "Divide by how many there are: {total} ÷ 4 = {mean}.",
        "{mean}",
    ),
    "discount": Wording(
        (
            "A coat costs ${price} and is reduced by {percent}%. What is the new price?",
            "The list price of a desk is ${price}. {name} gets {percent}% off. What does {name} "
            "pay?",
        ),
        "The discount is {price} × {percent} ÷ 100 = {off} dollars.\n"
        "That leaves {price} - {off} = {now} dollars.",
        "${now}",
    ),
    "fence": Wording(
        (
            "A rectangular garden is {length} m long and {width} m wide. Fencing costs ${cost} "
            "per metre. What does a fence around the whole garden cost?",
            "{name} fences a field of {length} by {width} metres at ${cost} a metre. What is the "
            "total bill?",
        ),
        "Length and width together: {length} + {width} = {half} metres.\n"
        "The perimeter is twice that: 2 × {half} = {around} metres.\n"
        "The fence costs {around} × {cost} = {price} dollars.",
        "${price}",
    ),
    "recipe": Wording(
        (
            "A recipe for {base} rolls needs {flour} g of flour. How much flour do {wanted} rolls "
            "need?",
            "{base} pancakes take {flour} grams of flour. {name} wants to make {wanted} of them. "
            "How many grams is that?",
        ),
        "One takes {flour} ÷ {base} = {each} grams.\n"
        "All of them take {wanted} × {each} = {need} grams.",
        "{need} g",
    ),
    "ages": Wording(
        (
            "{name} is {age} years old and {other} is {older} years older. What will their ages "
            "add up to in {years} years?",
            "{name} is {age}; {other} has {older} years more. Find the sum of their ages {years} "
            "years from now.",
        ),
        "{other} is {age} + {older} = {now} now.\n"
        "In {years} years they are {age} + {years} = {then} and {now} + {years} = {other_then}.\n"
        "Together: {then} + {other_then} = {sum}.",
        "{sum}",
    ),
    "reading": Wording(
        (
            "A book has {pages} pages. {name} reads {per_day} pages a day. On which day is the "
            "book finished?",
            "{name} must type {pages} pages and manages {per_day} a day. How many days does the "
            "work take, counting the last, shorter day?",
        ),
        "After {full} full days {full} × {per_day} = {read} pages are done.\n"
        "{pages} - {read} = {rest} pages remain for one more day: {full} + 1 = {days}.",
        "{days}",
    ),
    "metres": Wording(
        (
            "Write {km} km and {extra} m in metres.",
            "A trail is {km} kilometres and {extra} metres long. How many metres is that?",
        ),
        "{km} × 1000 = {whole} metres, and {whole} + {extra} = {metres}.",
        "{metres} m",
    ),
    "portions": Wording(
        (
            "How many bags can be filled from {kg} kg of rice if each holds {grams} g?",
            "{name} divides {kg} kilograms of nuts into portions of {grams} grams. How many "
            "portions are there?",
        ),
        "In grams: {kg} × 1000 = {all_grams}.\n{all_grams} ÷ {grams} = {bags}.",
        "{bags}",
    ),
    "clock": Wording(
        (
            "A film starts at {start} and lasts {lasts} minutes. When does it end?",
            "{name} boards a train at {start}. The journey takes {lasts} minutes. What is the "
            "time on arrival?",
        ),
        "{lasts} minutes are {hours} h and {lasts} - {whole} = {minutes} min.\n"
        "Added to {start} that gives {end}.",
        "{end}",
    ),
    "later": Wording(
        (
            "What is the date {days} days after {day}?",
            "An invoice is due within {days} days of {day}. What is the last date for payment?",
        ),
        "Counting from {day}: {left} days remain in that month after that date. Going on to "
        "{days} days leads to {after}.",
        "{after}",
    ),
    "weekday": Wording(
        (
            "Today is {first}. What day of the week is it in {days} days?",
            "A parcel sent on a {first} arrives {days} days later. On which weekday is that?",
        ),
        "{days} days are {weeks} whole weeks ({weeks} × 7 = {whole}) and {days} - {whole} = {rest} "
        "more.\nCounting {rest} on from {first} gives {weekday}.",
        "{weekday}",
    ),
    "sequence": Wording(
        (
            "A sequence begins {a}, {b}, {c} and goes on in equal steps. What is term number "
            "{nth}?",
            "Find term number {nth} of the arithmetic sequence {a}, {b}, {c}, …",
        ),
        "The step is {b} - {a} = {step}. From the first term to number {nth} there are "
        "{nth} - 1 = {steps} steps.\n"
        "{steps} × {step} = {rise} and {a} + {rise} = {term}.",
        "{term}",
    ),
    "fahrenheit": Wording(
        (
            "Convert {celsius} °C to degrees Fahrenheit.",
            "An oven shows {celsius} degrees Celsius. What is that in Fahrenheit?",
        ),
        "Multiply by nine fifths: {celsius} × 9 ÷ 5 = {scaled}.\n"
        "Add thirty-two: {scaled} + 32 = {f}.",
        "{f} °F",
    ),
    "ratio": Wording(
        (
            "{name} and {other} share ${total} in the ratio {a}:{b}. How much does each get?",
            "A prize of ${total} is split {a} to {b} between {name} and {other}. What are the two "
            "shares?",
        ),
        "There are {a} + {b} = {parts} parts of {total} ÷ {parts} = {part} dollars.\n"
        "{name} gets {a} × {part} = {first} and {other} gets {b} × {part} = {second}.",
        "{name} ${first}, {other} ${second}",
    ),
    "saving": Wording(
        (
            "A bicycle costs ${goal}. {name} has ${has} and saves ${weekly} every week. After how "
            "many weeks is there enough?",
            "{name} wants ${goal}, owns ${has} already and puts aside ${weekly} a week. How many "
            "weeks will it take?",
        ),
        "Missing: {goal} - {has} = {missing} dollars.\n{missing} ÷ {weekly} = {weeks}.",
        "{weeks} weeks",
    ),
    "fraction": Wording(
        (
            "{above}/{below} of the {total} {things} are sold. How many are left?",
            "{name} gives away {above}/{below} of a collection of {total} {things}. How many does "
            "{name} keep?",
        ),
        "One part of {below} is {total} ÷ {below} = {one}; {above} of them are {one} × {above} = "
        "{taken}.\n{total} - {taken} = {left}.",
        "{left}",
    ),
    "tank": Wording(
        (
            "A tank of {litres} litres is empty. {inflow} litres flow in per minute while {out} "
            "leak out. After how many minutes is it full?",
            "An empty pool holds {litres} litres. A hose brings {inflow} litres a minute, a drain "
            "takes {out}. How long until the pool is full?",
        ),
        "Each minute adds {inflow} - {out} = {net} litres.\n{litres} ÷ {net} = {minutes}.",
        "{minutes} minutes",
    ),
    "wage": Wording(
        (
            "{name} earns ${hourly} an hour. Hours above forty in a week are paid one and a half "
            "times. What is the pay for {hours} hours?",
            "The hourly wage is ${hourly}, and half as much again for every hour beyond the "
            "fortieth. What does a week of {hours} hours bring?",
        ),
        "Forty hours bring 40 × {hourly} = {normal} dollars.\n"
        "{hours} - 40 = {extra} hours at {hourly} × 3 ÷ 2 = {over} bring "
        "{extra} × {over} = {more}.\n"
        "Together: {normal} + {more} = {pay}.",
        "${pay}",
    ),
    "outfits": Wording(
        (
            "{name} owns {a} shirts, {b} pairs of trousers and {c} hats. How many different "
            "outfits of one each are possible?",
            "A menu offers {a} starters, {b} main courses and {c} desserts. How many different "
            "three-course meals are there?",
        ),
        "{a} × {b} = {pairs} and {pairs} × {c} = {all}.",
        "{all}",
    ),
    "angle": Wording(
        (
            "Two angles of a triangle measure {a}° and {b}°. How large is the third?",
            "In a triangle one angle is {a} degrees, another {b} degrees. Find the remaining one.",
        ),
        "{a} + {b} = {known}, and the three together make 180: 180 - {known} = {third}.",
        "{third}°",
    ),
}
