"""Who is asking, and what may they see? Tokens, sessions of a browser, and wrong guesses."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from influence_store.errors import Forbidden
from influence_store.serve.tokens import Token, TokenFile, matching

if TYPE_CHECKING:
    from collections.abc import Callable

#: A browser is asked again after so long, and when its token ends.
SESSION_SECONDS = 12 * 3600.0
#: Every wrong token waits so long for its answer, and more than so many in a minute get none.
DELAY_SECONDS = 0.5
MOST_WRONG_PER_MINUTE = 30
#: The longest secret is far shorter.
LONGEST_SECRET = 256
_MOST_SESSIONS = 1000


class LoginNeeded(Exception):
    """Nobody is logged in; `wrong` if a token was shown that opens nothing."""

    def __init__(self, *, wrong: bool = False) -> None:
        super().__init__()
        self.wrong = wrong


@dataclass(frozen=True)
class Reader:
    """Whoever asks: the name of their token, and whether they may see texts of samples."""

    name: str
    texts: bool

    def must_see_texts(self, what: str) -> None:
        """Forbidden unless they may."""
        if not self.texts:
            raise Forbidden(
                f"{what} needs a token that may see texts; {self.name} has scope read",
                hint="influence-store token new --name NAME --scope texts",
            )


@dataclass(frozen=True)
class _Session:
    digest: str
    ends_at: float


class Gate:
    """Opens for tokens of one store: those of the file, and `own`, made for this run alone."""

    def __init__(
        self,
        store: str,
        tokens: TokenFile,
        own: Token | None = None,
        *,
        clock: Callable[[], float] = time.time,
        delay: float = DELAY_SECONDS,
    ) -> None:
        #: Seconds that every wrong token waits for its answer.
        self.delay = delay
        self._store, self._tokens, self._own, self._clock = store, tokens, own, clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG_PER_MINUTE)
        self._lock = threading.Lock()

    def token(self, secret: str) -> Token | None:
        """The token that `secret` opens."""
        if len(secret) > LONGEST_SECRET:
            return None
        return matching(secret, self._known(), self._clock())

    def own_token(self, secret: str) -> Token | None:
        """The same for the token of this run, the only one that may stand in an address."""
        if self._own is None or len(secret) > LONGEST_SECRET:
            return None
        return matching(secret, [self._own], self._clock())

    def begin(self, token: Token) -> tuple[str, int]:
        """A new session for a browser: its key, and how many seconds it lasts at most."""
        key, now = secrets.token_urlsafe(32), self._clock()
        ends_at = min(now + SESSION_SECONDS, token.expires_at)
        with self._lock:
            self._sessions[_kept(key)] = _Session(token.digest, ends_at)
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return key, max(0, int(ends_at - now))

    def end(self, key: str) -> None:
        """Log out."""
        with self._lock:
            self._sessions.pop(_kept(key), None)

    def of_session(self, key: str) -> Token | None:
        """The token behind a session, if both still hold: revoking it ends its sessions."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(_kept(key))
            if session is None or now >= session.ends_at:
                self._sessions.pop(_kept(key), None)
                return None
        known = [one for one in self._known() if one.digest == session.digest and one.holds(now)]
        return known[0] if known else None

    def too_many_wrong(self) -> bool:
        """Note one more wrong token; True if there were too many in the last minute.

        Right ones always open, so that nobody can lock others out.
        """
        now = self._clock()
        with self._lock:
            full = len(self._wrong) == MOST_WRONG_PER_MINUTE and now - self._wrong[0] < 60
            if not full:
                self._wrong.append(now)
            return full

    def _known(self) -> list[Token]:
        return [*self._tokens.of(self._store), *([self._own] if self._own else [])]


def cookie_name(request: Request) -> str:
    """Cookies do not heed ports: two servers of one machine need two names."""
    port = (request.scope.get("server") or ("", 0))[1]
    return f"influence-store-{port}"


async def reader(request: Request) -> Reader:
    """Who asks, by `Authorization: Bearer` or by their session; LoginNeeded for nobody.

    Not in a thread: reading a small file is quick, and threads may all be busy with pages.
    """
    gate: Gate = request.app.state.gate
    told = request.headers.get("authorization")
    if told is not None:
        kind, _, secret = told.partition(" ")
        token = None
        if kind.lower() == "bearer":
            token = gate.token(secret.strip())
        if token is None:
            raise LoginNeeded(wrong=True)
    else:
        key = request.cookies.get(cookie_name(request), "")[:LONGEST_SECRET]
        token = gate.of_session(key) if key else None
        if token is None:
            raise LoginNeeded
    found = Reader(token.name, token.scope == "texts")
    request.state.reader = found
    return found


AsReader = Annotated[Reader, Depends(reader)]


def _kept(key: str) -> str:
    """Sessions are kept by a hash, so that looking one up tells nothing about others."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
