"""How do numbers, times and strangers' texts look on the page?

Texts come from anywhere. Jinja escapes what could be markup; here what could deceive a reader is
shown as its escape: control characters, and marks that turn the direction of what follows.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

# C0 but for tab and line break, delete, C1, soft hyphen; marks, embeddings and isolates of
# direction; separators of lines; what takes no room. The joiners U+200C and U+200D stay: Persian,
# Indic scripts and emoji need them.
_DECEIVING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_NONE = "–"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def visible(text: str) -> str:
    """`text` with every character that steers or hides as its escape, e.g. `\\u202e`."""
    return _DECEIVING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def number(value: float | None) -> str:
    """Three significant digits, a minus sign as long as a plus, 5.2 × 10⁻⁶; – for none."""
    if value is None:
        return _NONE
    if isinstance(value, int):
        return amount(value)
    told = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
    digits, e, exponent = told.partition("e")
    if e:
        return f"{digits} × 10{str(int(exponent)).translate(_RAISED)}".replace("-", "−")
    return told.replace("-", "−")


def amount(value: int) -> str:
    """A count, its thousands apart."""
    return f"{value:,}".replace("-", "−")


def share(value: float | None) -> str:
    """A part of a whole in per cent, one decimal."""
    return _NONE if value is None else f"{100 * value:.1f} %".replace("-", "−")


def seconds(value: float | None) -> str:
    """A duration in the unit in which people say it."""
    if value is None:
        return _NONE
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if value >= 2 * size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:.3g} s"


def moment(stored: float) -> str:
    """A stored time, in UTC to the minute."""
    return datetime.fromtimestamp(stored, UTC).strftime("%Y-%m-%d %H:%M UTC")
