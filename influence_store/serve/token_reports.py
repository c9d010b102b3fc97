"""`token new`, `token list` and `token revoke`: what they do and print."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from influence_store.output import table_lines
from influence_store.serve.tokens import TokenFile, make

if TYPE_CHECKING:
    from influence_store.serve.tokens import Scope, Token
    from influence_store.store.store import Store


@dataclass(frozen=True)
class NewToken:
    """A token that was made just now; `secret` is printed once and kept nowhere, "" = planned."""

    token: Token
    secret: str

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**_facts(self.token), **({"token": self.secret} if self.secret else {})}

    def lines(self) -> list[str]:
        """The secret alone on the first line, for a script to read."""
        told = f"{self.token.name}: scope {self.token.scope}, until {_day(self.token.expires_at)}"
        return [self.secret, f"{told}. It is not shown again."] if self.secret else [told]


@dataclass(frozen=True)
class TokenList:
    """The tokens of a store, oldest first."""

    tokens: tuple[Token, ...]
    now: float

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {
            "tokens": [{**_facts(one), "expired": not one.holds(self.now)} for one in self.tokens]
        }

    def lines(self) -> list[str]:
        """For people."""
        if not self.tokens:
            return ["no tokens; make one: influence-store token new --name NAME"]
        rows = [
            (
                one.name,
                one.scope,
                _day(one.created_at),
                _day(one.expires_at) + ("" if one.holds(self.now) else " (expired)"),
            )
            for one in self.tokens
        ]
        return table_lines(["name", "scope", "made", "until"], rows)


@dataclass(frozen=True)
class Revoked:
    """A token that opens nothing any more."""

    token: Token

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**_facts(self.token), "revoked": True}

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.token.name} opens nothing any more; who was logged in with it is out"]


def new_token(
    store: Store, name: str, scope: str, days: float, *, plan_only: bool = False
) -> NewToken:
    """Make and keep a token; UsageError if the name is taken."""
    secret, token = make(name, cast("Scope", scope), store.database.store_id(), days)
    TokenFile().add(token, plan_only=plan_only)
    return NewToken(token, "" if plan_only else secret)


def list_tokens(store: Store) -> TokenList:
    """Those of this store."""
    return TokenList(tuple(TokenFile().of(store.database.store_id())), time.time())


def revoke_token(store: Store, name: str, *, plan_only: bool = False) -> Revoked:
    """NotFound tells the names there are."""
    return Revoked(TokenFile().revoke(store.database.store_id(), name, plan_only=plan_only))


def _facts(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%MZ")
