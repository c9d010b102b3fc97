"""What must be known of scores besides their numbers? The manifest, read and checked at once.

Mandatory are the fields below; null says "there is none", which a missing field does not. Two
numbers may only be compared where all of them agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import orjson

from influence_store.errors import InputError, NotFound
from influence_store.influence.imports.axes import ids_of
from influence_store.protocols import HigherMeans, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What decides values, and an example of each. The first three can never be null.
_ALWAYS = ("method", "kind", "higher_means", "code_version")
_EXAMPLES: dict[str, Any] = {
    "method": "less",
    "kind": "pairwise",
    "higher_means": "helpful",
    "model_id": "meta-llama/Llama-2-7b-hf",
    "model_revision": "01c7f73d771dfac7d292323805ebc428287df4f9",
    "dtype": "bfloat16",
    "template_id": "tulu",
    "tokenizer_hash": "sha256 of tokenizer.json",
    "max_len": 2048,
    "seed": 0,
    "code_version": "princeton-nlp/LESS@8abf962",
}
IDENTITY = tuple(_EXAMPLES)
_AXES: dict[str, tuple[str, ...]] = {
    "pointwise": ("sample_ids",),
    "pairwise": ("source_ids", "target_ids"),
    "bilinear": ("source_ids", "target_ids"),
}
#: Fields that say how to read, and change no value by themselves.
_READING = ("sample_ids", "source_ids", "target_ids", "source_vectors", "target_vectors", "outputs")
#: Further facts: all that a method's own settings are, and the set that scores were made for.
_MORE = ("targets", "paper", "parameters", "checkpoint_weights")
_DIRECTIONS = (*get_args(HigherMeans), "harmful")
_LONGEST_OUTPUT = 200
_METHOD = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Manifest:
    """A checked manifest; `base` is the folder that its file names are relative to.

    `higher_means` is what higher means once the values are read: scores whose *lower* values help
    (`"harmful"`) are negated, and `harmful` says so.
    """

    name: str
    fields: Mapping[str, Any]
    base: Path
    rows_of: Callable[[Path], Sequence[bytes]] | None = None

    @property
    def method(self) -> str:
        """The method's name; every output begins with it."""
        return str(self.fields["method"])

    @property
    def kind(self) -> Kind:
        """One number per sample, per pair, or vectors."""
        kind: Kind = self.fields["kind"]
        return kind

    @property
    def harmful(self) -> bool:
        """Whether lower values of the file mean helpful."""
        return bool(self.fields["higher_means"] == "harmful")

    @property
    def higher_means(self) -> HigherMeans:
        """As a spec says it."""
        if self.harmful:
            return "helpful"
        direction: HigherMeans = self.fields["higher_means"]
        return direction

    @property
    def facts(self) -> dict[str, Any]:
        """All fields that decide a value."""
        kept = (*IDENTITY, *_MORE)
        return {key: self.fields[key] for key in kept if key in self.fields}

    def text(self, key: str) -> str | None:
        """An optional text field."""
        value = self.fields.get(key)
        return None if value is None else str(value)

    def names(self, key: str) -> list[str] | None:
        """An optional list of texts; one text is a list of one."""
        value = self.fields.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return list(value)
        raise InputError(f'{self.name}: "{key}" is {value!r:.80}, expected a list of names')

    def output(self, column: str) -> str:
        """The output that a column of a file becomes: method, or method-column."""
        if not column.isprintable() or len(column) > _LONGEST_OUTPUT:
            raise InputError(
                f"{self.name}: the column {column[:80]!r} cannot name an output",
                hint='rename it, or choose columns by "outputs": […]',
            )
        if column in ("value", "score", self.method):
            return self.method
        return column if column.startswith(f"{self.method}-") else f"{self.method}-{column}"

    def require(self, *fields: str) -> None:
        """InputError that lists those of `fields` which are missing, with an example."""
        missing = [field for field in fields if field not in self.fields]
        if missing:
            raise _incomplete(self.name, missing, self.fields)

    def axis(self, field: str, length: int, found: str) -> tuple[bytes, ...]:
        """Sample ids of one axis; InputError naming both where they are not `length` many."""
        ids = self.ids(field)
        if len(ids) != length:
            raise InputError(
                f'{found}; "{field}" in {self.name} names {len(ids):,} rows, expected {length:,}',
                hint="name the very rows that were scored, all of them, in the order of scoring",
            )
        return ids

    def ids(self, field: str) -> tuple[bytes, ...]:
        """Sample ids that a field lists or points to."""
        self.require(field)
        return ids_of(self.fields[field], f'"{field}" in {self.name}', self.base, self.rows_of)

    def path(self, name: str) -> Path:
        """A file named by the manifest; NotFound if it is not there."""
        path = self.base / Path(name).expanduser()
        if not path.exists():
            raise NotFound(f"{self.name} names {name}, but there is no {path}", hint="ls the path")
        return path


def read_manifest(
    scores: Path,
    given: str | Path | Mapping[str, Any] | None,
    *,
    axes: bool = True,
    rows_of: Callable[[Path], Sequence[bytes]] | None = None,
) -> Manifest:
    """The manifest of `scores`; InputError lists every field that is missing, wrong or unknown.

    `axes` says that the rows must be named too, because the score file does not.
    """
    if given is None:
        given = _beside(scores)
    if isinstance(given, str | Path):
        name, base, fields = str(given), Path(given).parent, _json(Path(given))
    else:
        name, fields = "the manifest", dict(given)
        base = scores if scores.is_dir() else scores.parent
    kind = fields.get("kind")
    needed = (*IDENTITY, *(_AXES.get(kind, ()) if axes and isinstance(kind, str) else ()))
    missing = [field for field in needed if field not in fields]
    if missing:
        raise _incomplete(name, missing, fields)
    _check(name, fields)
    return Manifest(name, fields, base, rows_of)


def _beside(scores: Path) -> Path:
    folder = scores if scores.is_dir() else scores.parent
    tried = [scores.with_name(f"{scores.name}.manifest.json"), folder / "manifest.json"]
    for path in tried:
        if path.is_file():
            return path
    raise InputError(
        f"{scores} has no identity: there is neither {tried[0]} nor {tried[1]}; "
        f"it must say {', '.join(IDENTITY)}",
        hint=f"write {tried[0]}, such as: {_example({}, ())}",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        fields = orjson.loads(path.read_bytes())
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error}", hint="ls the path") from error
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}", hint=_example({}, ())) from error
    if not isinstance(fields, dict):
        raise InputError(f"{path} holds no JSON object", hint=_example({}, ()))
    return fields


def _check(name: str, fields: Mapping[str, Any]) -> None:
    wrong = [f'"{field}" is null' for field in _ALWAYS if fields[field] is None]
    wrong += [
        f'"{field}" is {fields[field]!r:.40}, expected {expected}'
        for field, expected, right in (
            ("method", "a-z 0-9 _ -", bool(_METHOD.fullmatch(str(fields["method"])))),
            ("kind", " or ".join(get_args(Kind)), fields["kind"] in get_args(Kind)),
            ("higher_means", " or ".join(_DIRECTIONS), fields["higher_means"] in _DIRECTIONS),
            ("max_len", "a number or null", _number_or_null(fields["max_len"])),
            ("seed", "a number or null", _number_or_null(fields["seed"])),
        )
        if not right and fields[field] is not None
    ]
    unknown = sorted(set(fields) - {*IDENTITY, *_READING, *_MORE})
    wrong += [f'"{field}" is unknown' for field in unknown]
    if wrong:
        hint = 'settings of the method belong under "parameters": {…}' if unknown else _example({})
        raise InputError(f"{name}: {'; '.join(wrong)}", hint=hint)


def _number_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _incomplete(name: str, missing: Sequence[str], fields: Mapping[str, Any]) -> InputError:
    return InputError(
        f"{name} lacks {len(missing)} mandatory fields: {', '.join(missing)}",
        hint=f"null where there is none; such as: {_example(fields, missing)}",
    )


def _example(fields: Mapping[str, Any], missing: Sequence[str] = ()) -> str:
    """A whole manifest to copy: what was given, and examples for the rest."""
    whole = {**_EXAMPLES, **fields}
    axes = _AXES.get(whole["kind"], _AXES["pairwise"])
    whole.update(
        {axis: f"{axis.removesuffix('_ids')}s.jsonl" for axis in axes if axis not in whole}
    )
    whole.update({field: "…" for field in missing if field not in whole})
    return orjson.dumps(whole, default=str).decode()
