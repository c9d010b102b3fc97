"""What must never be printed, logged or stored? Passwords, keys and tokens, wherever they turn up.

Three signs: a URL that carries a password, a setting whose name says that it is a secret, and the
very values that the environment holds under such names.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
#: A shorter value of the environment would hide ordinary words.
_SHORTEST = 6

_SECRET = (
    r"passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|signature|credentials?|"
    # A tokenizer has tokens too.
    r"(?:auth|access|session|refresh|security|api|hf)[_-]?token|(?<=[?&])token"
)
_NAMED = re.compile(
    # aws_secret_access_key=…, sslpassword=…, 'X-Amz-Signature': '…', --token …
    rf"""(?P<name>(?<![a-z])[a-z0-9_.-]*(?:{_SECRET})(?:_?id)?["']?\s*(?:=>|=|:)\s*)"""
    r"""(?P<value>"[^"]*"|'(?:[^'\\]|\\.)*'|[^\s&;,)}\]"']+)""",
    re.IGNORECASE,
)
# SQLAlchemy takes a / in a password, and people forget to escape an @. host:9000/name@2 has none.
_IN_URL = re.compile(
    r"(?P<user>[a-z][a-z0-9+.-]*://[^\s:/@?#]*):(?!\d{1,5}/)(?P<secret>[^\s@]*(?:@[^\s/@?#]*)*)@",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{6,}", re.IGNORECASE)
_VARIABLE = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|KEY|CREDENTIALS?)(?:_ID)?$", re.IGNORECASE
)


def redact(text: str) -> str:
    """`text` with every secret in it replaced by `***`; a user's name and a host stay."""
    for secret in _secrets_of_environment():
        text = text.replace(secret, HIDDEN)
    text = _IN_URL.sub(rf"\g<user>:{HIDDEN}@", text)
    text = _NAMED.sub(_hidden, text)
    return _BEARER.sub(rf"\g<name>{HIDDEN}", text)


def credentials_in(url: str) -> bool:
    """Whether `url` carries a password or a key, which belongs into the environment instead.

    A command line is seen by everybody on the machine, and is kept in the shell's history.
    """
    return _password_of(url) is not None or _NAMED.search(unquote(urlsplit(url).query)) is not None


def _hidden(found: re.Match[str]) -> str:
    value = found["value"]
    quoted = value[0] if value[:1] in ("'", '"') else ""
    return f"{found['name']}{quoted}{HIDDEN}{quoted}"


def _secrets_of_environment() -> list[str]:
    """The longest first, so that no part of one is left over where another is its beginning."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if _VARIABLE.search(name):
            found.update((value, quote(value, safe=""), quote_plus(value)))
        elif "://" in value:
            inside = [_password_of(value) or "", *(one["value"] for one in _NAMED.finditer(value))]
            found.update(form for one in inside for form in (one, unquote(one)))
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)


def _password_of(url: str) -> str | None:
    found = _IN_URL.match(url)
    return found["secret"] or None if found else None
