"""Named implementations, imported only when asked for; third parties join by entry point."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from influence_store.errors import NotFound, UsageError


@dataclass(frozen=True)
class Entry:
    """Where an implementation lives (`module:attribute`) and the extra it needs, if any."""

    target: str
    summary: str
    extra: str = ""

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class Registry:
    """A table name → Entry of one `kind`; `group` is the entry-point group others join by."""

    kind: str
    group: str
    builtin: dict[str, Entry] = field(default_factory=dict)

    def entries(self) -> dict[str, Entry]:
        """All entries, ours and third parties'. A name taken twice is an error, not a race."""
        known = dict(self.builtin)
        for point in entry_points(group=self.group):
            if point.name in known:
                raise UsageError(
                    f"two packages offer the {self.kind} {point.name!r}: "
                    f"{known[point.name].target} and {point.value}",
                    hint="uninstall one of them or ask its author for another name",
                )
            known[point.name] = Entry(point.value, f"from {point.dist.name if point.dist else '?'}")
        return known

    def get(self, name: str) -> Any:
        """The implementation called `name`; NotFound names the nearest ones."""
        entries = self.entries()
        if name not in entries:
            raise NotFound.named(self.kind, name, entries)
        return entries[name].load()
