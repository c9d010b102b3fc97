"""Who may look: tokens by name, of which only a salted hash is kept.

They lie in `serve-tokens.json` beside the configuration file, not in the catalog: a token is leave
to use *this* server, so it must not travel with backups, be seen by other teams of one catalog, or
ask the web process to open the catalog for more than reading. It holds for one store, by its id.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import orjson

from influence_store.durable import replace_file
from influence_store.errors import Forbidden, IntegrityError, NotFound, UsageError
from influence_store.schema.identity import check_name
from influence_store.settings import config_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Scope = Literal["read", "texts"]

FILE = "serve-tokens.json"
_SECRET_BYTES = 32
_SALT_BYTES = 16
_DAY = 86_400.0


@dataclass(frozen=True)
class Token:
    """Leave to look at one store; times in seconds since 1970, `salt` and `digest` in hex.

    Scope `read` sees all but the texts of samples, `texts` these too.
    """

    name: str
    scope: Scope
    store: str
    created_at: float
    expires_at: float
    salt: str
    digest: str

    def holds(self, now: float) -> bool:
        """Whether it has not expired."""
        return now < self.expires_at


def make(name: str, scope: Scope, store: str, days: float) -> tuple[str, Token]:
    """A new secret, to be shown once, and what is kept of it."""
    secret, salt, now = secrets.token_urlsafe(_SECRET_BYTES), os.urandom(_SALT_BYTES), time.time()
    return secret, Token(
        name, scope, store, now, now + days * _DAY, salt.hex(), _digest(secret, salt)
    )


def matching(secret: str, known: Iterable[Token], now: float) -> Token | None:
    """The token that `secret` opens, if it has not expired.

    Every one is compared, in constant time: how long it takes tells nothing about any of them.
    """
    found = None
    for token in known:
        digest = _digest(secret, bytes.fromhex(token.salt))
        if hmac.compare_digest(digest, token.digest) and token.holds(now):
            found = token
    return found


class TokenFile:
    """The tokens of all stores that this user serves, in a file that only they can read."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_file().with_name(FILE)

    def of(self, store: str) -> list[Token]:
        """Those of one store, oldest first. Forbidden if others may read or change the file."""
        return [one for one in self._read() if one.store == store]

    def add(self, token: Token, *, plan_only: bool = False) -> None:
        """UsageError if the store has one of that name; nothing is kept if `plan_only`."""
        check_name("a token", token.name)
        with nullcontext() if plan_only else self._alone():
            known = self._read()
            if any((one.store, one.name) == (token.store, token.name) for one in known):
                raise UsageError(
                    f"there is a token named {token.name!r} already",
                    hint=f"influence-store token revoke {token.name}, or choose another name",
                )
            if not plan_only:
                self._publish([*known, token])

    def revoke(self, store: str, name: str, *, plan_only: bool = False) -> Token:
        """Remove it unless `plan_only`; NotFound tells the names there are."""
        with nullcontext() if plan_only else self._alone():
            known = self._read()
            found = [one for one in known if (one.store, one.name) == (store, name)]
            if not found:
                names = [one.name for one in known if one.store == store]
                raise NotFound.named("token", name, names, hint="see: influence-store token list")
            if not plan_only:
                self._publish([one for one in known if one not in found])
        return found[0]

    def _read(self) -> list[Token]:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read()
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise Forbidden(f"{self.path} is not readable for this user") from error
        if os.name == "posix" and mode & 0o077:
            raise Forbidden(f"{self.path} is open to other users", hint=f"chmod 600 '{self.path}'")
        try:
            return [Token(**one) for one in orjson.loads(content)]
        except (orjson.JSONDecodeError, TypeError) as error:
            raise IntegrityError(
                f"{self.path} cannot be read: {error}",
                hint="remove it, which revokes every token, and make new ones",
            ) from error

    def _publish(self, tokens: list[Token]) -> None:
        """Through a file of another name: nobody ever reads half of it."""
        content = orjson.dumps([asdict(one) for one in tokens], option=orjson.OPT_INDENT_2)
        replace_file(self.path, content, mode=0o600)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two who change it at once must not bring back what one of them revoked."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{FILE}.lock")
        with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "wb") as held:
            if os.name == "posix":
                import fcntl

                fcntl.flock(held, fcntl.LOCK_EX)
            yield


def _digest(secret: str, salt: bytes) -> str:
    """A fast hash is enough: a password is guessed from a list, 256 random bits are not."""
    return hashlib.blake2b(secret.encode(), salt=salt, digest_size=32).hexdigest()
