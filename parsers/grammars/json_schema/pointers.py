"""JSON pointers and references within one schema document: `$ref`, `$id`, `$anchor`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

_VALUES = frozenset(("enum", "const", "default", "examples", "example"))


def step(pointer: str, name: str | int) -> str:
    """Return the pointer one name deeper."""
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"


def resolve_pointer(root: Any, reference: str) -> Any:
    """Return what a local reference (`#`, `#/$defs/x`) names; KeyError if nothing."""
    node = root
    for part in reference.split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            raise KeyError(reference)
    return node


@dataclass(frozen=True, slots=True)
class Target:
    """A schema that a reference names, and where it stands in the document."""

    schema: Any
    pointer: str


class ReferenceTable:
    """Finds what references name. Built in one walk over the document."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._bases: dict[int, str] = {}
        self._targets: dict[str, Target] = {"": Target(root, "")}
        self._walk(root, "", "")

    def base(self, schema: Mapping[str, Any]) -> str:
        """Return the URI that references in the schema are relative to."""
        return self._bases.get(id(schema), "")

    def find(self, reference: str, schema: Mapping[str, Any]) -> Target | None:
        """Return what a reference that stands in `schema` names; None where it is another document.

        Raises KeyError where it is this document and there is no such place.
        """
        document, fragment = urldefrag(urljoin(self.base(schema), reference))
        if reference.startswith("#"):
            document = self.base(schema)  # a base that is no URI joins with nothing
            fragment = reference[1:]
        if not fragment or fragment.startswith("/"):
            owner = self._targets.get(document)
            if owner is None:
                return None
            return self._at(owner, fragment)
        target = self._targets.get(f"{document}#{fragment}")
        if target is None and document in self._targets:
            raise KeyError(reference)
        return target

    def _at(self, owner: Target, fragment: str) -> Target:
        try:
            return Target(resolve_pointer(owner.schema, fragment), owner.pointer + fragment)
        except KeyError:  # written as if the whole document were the base
            return Target(resolve_pointer(self._root, fragment), fragment)

    def _walk(self, node: Any, pointer: str, base: str) -> None:
        if isinstance(node, list):
            for index, part in enumerate(node):
                self._walk(part, step(pointer, index), base)
        if not isinstance(node, Mapping):
            return
        base = self._enter(node, pointer, base)
        if base:
            self._bases[id(node)] = base
        for name, part in node.items():
            if name not in _VALUES:
                self._walk(part, step(pointer, name), base)

    def _enter(self, node: Mapping[str, Any], pointer: str, base: str) -> str:
        own = node.get("$id", node.get("id"))
        if isinstance(own, str) and own.startswith("#"):  # an anchor of draft 6
            self._targets.setdefault(base + own, Target(node, pointer))
        elif isinstance(own, str) and own and ("$id" in node or "$schema" in node):
            base = urldefrag(urljoin(base, own)).url
            self._targets.setdefault(base, Target(node, pointer))
        for key in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(key), str):
                self._targets.setdefault(f"{base}#{node[key]}", Target(node, pointer))
        return base
