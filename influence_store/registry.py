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
class Offer:
    """A name as somebody offers it; `package` is empty for what is built in."""

    name: str
    entry: Entry
    package: str = ""
    version: str = ""
    #: Whose name it was already, as `module:attribute`; then nobody may use it.
    taken_by: str = ""


@dataclass(frozen=True)
class Registry:
    """A table name → Entry of one `kind`; `group` is the entry-point group others join by."""

    kind: str
    group: str
    builtin: dict[str, Entry] = field(default_factory=dict)

    def offers(self) -> list[Offer]:
        """All that is offered, ours first, also names that are taken; imports nothing."""
        found = [Offer(name, entry) for name, entry in self.builtin.items()]
        owners = {one.name: one.entry.target for one in found}
        for point in entry_points(group=self.group):
            package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "")
            entry = Entry(point.value, f"from {package}")
            found.append(Offer(point.name, entry, package, version, owners.get(point.name, "")))
            owners.setdefault(point.name, point.value)
        return found

    def entries(self) -> dict[str, Entry]:
        """All entries, ours and third parties'. A name taken twice is an error, not a race."""
        known = {}
        for one in self.offers():
            if one.taken_by:
                raise UsageError(
                    f"two packages offer the {self.kind} {one.name!r}: "
                    f"{one.taken_by} and {one.entry.target}",
                    hint="see: influence-store plugins; uninstall one of them or ask its author "
                    "for another name",
                )
            known[one.name] = one.entry
        return known

    def get(self, name: str) -> Any:
        """The implementation called `name`; NotFound names the nearest ones."""
        entries = self.entries()
        if name not in entries:
            raise NotFound.named(self.kind, name, entries)
        return entries[name].load()
