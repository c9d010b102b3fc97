"""What does a statement do with the columns it names? Read off the tree of DuckDB's own parser.

Nothing here decides what a statement means: it only finds where less can be read for the same
answer, and says "all" wherever the tree has something that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN_STAR = ("exclude_list", "replace_list", "qualified_exclude_list", "rename_list", "expr")
_TAKING_ALL = ("SHOW_REF", "PIVOT")  # describe and summarize; pivot groups by what is not named


@dataclass(frozen=True)
class PassedOn:
    """`column in passed_on`: by name or by the star, and mentioned nowhere else."""

    named: frozenset[str]
    star: bool
    used: frozenset[str]

    def __contains__(self, column: str) -> bool:
        return (self.star or column in self.named) and column not in self.used


NOTHING = PassedOn(frozenset(), star=False, used=frozenset())


@dataclass(frozen=True)
class Statement:
    """One SELECT as `json_serialize_sql` gives it; None where the parser's tree is not known."""

    tree: Mapping[str, Any] | None

    @property
    def takes_all(self) -> bool:
        """Whether it takes columns that it does not name: by a star, columns(…), a whole row, …"""
        return (
            self.tree is None
            or self._takes_whole_rows()
            or any(
                node.get("class") == "STAR"
                or node.get("type") in _TAKING_ALL
                or node.get("ref_type") == "NATURAL"
                for node in _nodes(self.tree)
            )
        )

    def passed_on(self) -> PassedOn:
        """The columns of which it hands on the values and asks nothing else."""
        node = (self.tree or {}).get("node", {})
        if not _is_simple(node) or self._takes_whole_rows():
            return NOTHING
        free = [one for one in node["select_list"] if self._is_free(one)]
        others = {**node, "select_list": [one for one in node["select_list"] if one not in free]}
        used = {*_texts(others)} - {""}
        stars = [one for one in free if one["class"] == "STAR"]
        for one in _ordered_by_place(node):
            if stars or not 1 <= one <= len(node["select_list"]):
                return NOTHING
            used.update(_column(node["select_list"][one - 1])[-1:])
        if any(inner.get("class") == "STAR" for inner in _nodes(others)):
            return NOTHING
        named = [one for one in free if one["class"] == "COLUMN_REF"]
        renamed = {_column(one)[-1] for one in named if one["alias"].lower() in used}
        return PassedOn(
            frozenset(_column(one)[-1] for one in named),
            star=bool(stars),
            used=frozenset(used | renamed),
        )

    def selections(self, params: Mapping[str, Any]) -> list[str]:
        """The ids in selected('ID') and selected($id), in the order of the statement."""
        found = []
        for node in _nodes(self.tree or {}):
            if node.get("function_name", "").lower() == "selected":
                values = [_value(one["expression"], params) for one in node["arguments"]]
                found += [value for value in values if isinstance(value, str)]
        return list(dict.fromkeys(found))

    def only_ids(self, params: Mapping[str, Any]) -> list[str] | None:
        """The sample ids that its one table can be limited to; None where it is not so simple."""
        node = (self.tree or {}).get("node", {})
        selects = [one for one in _nodes(self.tree or {}) if "from_table" in one]
        if not _is_simple(node) or len(selects) != 1 or node["from_table"]["type"] != "BASE_TABLE":
            return None
        where = node["where_clause"] or {}
        for one in where["children"] if where.get("type") == "CONJUNCTION_AND" else [where]:
            if one.get("type") == "COMPARE_EQUAL":
                for side, other in ((one["left"], one["right"]), (one["right"], one["left"])):
                    value = _value(other, params)
                    if _column(side)[-1:] == ["sample_id"] and isinstance(value, str):
                        return [value]
        return None

    def _is_free(self, item: Mapping[str, Any]) -> bool:
        if item["class"] == "STAR":
            return not item["columns"] and not any(item[name] for name in _PLAIN_STAR)
        names = _column(item)
        return len(names) == 1 or (len(names) == 2 and names[0] in self._tables())

    def _takes_whole_rows(self) -> bool:
        """Whether a table is named where a column could be: that is the row as a struct."""
        tables = self._tables()
        names = [_column(node) for node in _nodes(self.tree or {})]
        return any(len(one) == 1 and one[0] in tables for one in names)

    def _tables(self) -> set[str]:
        """Names and aliases of all that it reads from."""
        nodes = [node for node in _nodes(self.tree or {}) if "column_name_alias" in node]
        names = {
            str(node.get(key, "")).lower() for node in nodes for key in ("alias", "table_name")
        }
        return names - {""}


def _is_simple(node: Mapping[str, Any]) -> bool:
    """One SELECT whose rows are rows of its tables: no union, group, distinct or natural join."""
    return (
        node.get("type") == "SELECT_NODE"
        and not node["cte_map"]["map"]
        and not node["group_expressions"]
        and node["aggregate_handling"] == "STANDARD_HANDLING"
        and not any(one["type"] == "DISTINCT_MODIFIER" for one in node["modifiers"])
        and _is_simple_source(node["from_table"])
    )


def _is_simple_source(source: Mapping[str, Any]) -> bool:
    if source["type"] == "JOIN":
        regular = source["ref_type"] in ("REGULAR", "CROSS")
        return regular and all(_is_simple_source(source[side]) for side in ("left", "right"))
    selected = source.get("function", {}).get("function_name", "").lower() == "selected"
    known = source["type"] == "BASE_TABLE" or (source["type"] == "TABLE_FUNCTION" and selected)
    return known and not source["column_name_alias"]


def _ordered_by_place(node: Mapping[str, Any]) -> Iterator[int]:
    """The k of every `order by k`."""
    for modifier in node["modifiers"]:
        for order in modifier.get("orders", []):
            literal = order["expression"].get("literal", {})
            if literal.get("kind") == "INTEGER":
                yield int(literal["text"])


def _value(expression: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    """Of a text in quotes or a parameter; None for anything else."""
    if expression["type"] == "VALUE_PARAMETER":
        return params.get(expression["identifier"])
    literal = expression.get("literal", {})
    return literal["text"] if literal.get("kind") == "STRING" else None


def _column(node: Mapping[str, Any]) -> list[str]:
    """Its name in parts, lower case; none unless the node is a column."""
    return [part.lower() for part in node.get("column_names", [])]


def _texts(tree: Any) -> Iterator[str]:
    """Every text anywhere in it, lower case: whatever may be a column's name."""
    if isinstance(tree, str):
        yield tree.lower()
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value)


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in it, outermost first."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
