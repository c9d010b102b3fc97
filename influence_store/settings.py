"""What the command line does not say: which store, where its catalog and the cache are.

A *profile* is a name for a store in the user's own file, `config.toml` in the configuration folder:

    [profiles.team]
    store = "s3://bucket/prefix"
    database = "postgresql+psycopg://team_a@db.example.org/influence"

It never holds a secret: credentials come from the environment, ~/.pgpass and the like.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence_store.errors import NotFound, UsageError

DEFAULT_STORE = "./influence-store"
STORE_VARIABLE = "INFLUENCE_STORE_URI"
PROFILE_VARIABLE = "INFLUENCE_STORE_PROFILE"
DATABASE_VARIABLE = "INFLUENCE_STORE_DATABASE"
CONFIG_VARIABLE = "INFLUENCE_STORE_CONFIG"
CACHE_VARIABLE = "INFLUENCE_STORE_CACHE"
LEASE_VARIABLE = "INFLUENCE_STORE_LEASE_SECONDS"


@dataclass(frozen=True)
class Place:
    """Where a store is: its URI, and the URL of its catalog where that is not written there."""

    uri: str
    database: str | None = None


def place(uri: str | None, profile: str | None) -> Place:
    """The store that is meant: by `uri`, by the name of a profile, or the default folder.

    UsageError if both are given or the file is wrong, NotFound if there is no such profile.
    """
    database = os.environ.get(DATABASE_VARIABLE)
    if uri is not None and profile is not None:
        raise UsageError("--store and --profile exclude each other: a profile names its store")
    if profile is None:
        return Place(uri or DEFAULT_STORE, database)
    known = profiles()
    if profile not in known:
        raise NotFound.named("profile", profile, known, hint=f"profiles are in {config_file()}")
    named = known[profile]
    return Place(named.uri, database or named.database)


def profiles() -> dict[str, Place]:
    """The profiles of the user's file by name; none if there is no file."""
    path = config_file()
    try:
        told = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint="it must be TOML: [profiles.NAME]") from error
    return {name: _profile(path, name, values) for name, values in _tables(path, told)}


def config_file() -> Path:
    """$INFLUENCE_STORE_CONFIG, or config.toml in the user's configuration folder."""
    if told := os.environ.get(CONFIG_VARIABLE):
        return Path(told)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "influence-store" / "config.toml"


def cache_dir() -> Path:
    """Folder for what can be made again (converted models): $INFLUENCE_STORE_CACHE, or the
    user's cache folder.
    """
    if told := os.environ.get(CACHE_VARIABLE):
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "influence-store"


def lease_seconds() -> float:
    """How long a run that nobody hears from keeps its work: $INFLUENCE_STORE_LEASE_SECONDS or 60.

    Heartbeats come six times as often.
    """
    return float(os.environ.get(LEASE_VARIABLE) or 60.0)


def _tables(path: Path, told: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = told.get("profiles", {})
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise UsageError(f"{path}: profiles are tables", hint="[profiles.NAME]")
    return list(found.items())


def _profile(path: Path, name: str, values: dict[str, Any]) -> Place:
    unknown = set(values) - {"store", "database"}
    if unknown or not isinstance(values.get("store"), str):
        found = ", ".join(sorted(unknown)) or "no store"
        raise UsageError(
            f"{path}: profile {name} has {found}; expected store and, for PostgreSQL, database"
        )
    for value in values.values():
        # user:secret@host
        if ":" in str(value).partition("://")[2].partition("@")[0] and "@" in str(value):
            raise UsageError(
                f"{path}: profile {name} holds a password",
                hint="keep it in the environment or in ~/.pgpass",
            )
    return Place(values["store"], values.get("database"))
