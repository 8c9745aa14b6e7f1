"""The YAML at the head of a model card: entries are added, and everything else stays byte for byte.

PyYAML says where things are; the text itself is edited, so that comments, order, quotes and line ends stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

_MARK = "\N{BYTE ORDER MARK}"
_FENCED = re.compile(r"---[ \t]*(?P<end>\r?\n)(?P<inner>(?:.*\r?\n)*?)(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)")


def stated(document: str) -> frozenset[str]:
    """Return the names of a card's entries. Raise ValueError with a reason when they cannot be read."""
    return frozenset(map(str, _loaded(_parted(document).inner)))


def with_entries(document: str, entries: Mapping[str, Any], tags: Sequence[str]) -> str:
    """Return a card whose front matter has `entries`, where it did not have them, and all of `tags`.

    Raise ValueError with a reason when the front matter cannot be read or cannot be added to.
    """
    parts = _parted(document)
    added = _added(parts.inner, entries, tags, parts.line_end)
    known = _loaded(added)
    if not all(name in known for name in (*entries, *(["tags"] if tags else []))):
        raise ValueError("nothing can be added to its front matter")
    return f"{parts.head}{added}{parts.rest}"


@dataclass(frozen=True)
class _Parts:
    """A card taken apart: up to the entries, the entries, and from behind them; and how its lines end."""

    head: str
    inner: str
    rest: str
    line_end: str


def _parted(document: str) -> _Parts:
    mark = _MARK if document.startswith(_MARK) else ""
    text = document[len(mark) :]
    fenced = _FENCED.match(text)
    if fenced is not None:
        start, stop = fenced.span("inner")
        return _Parts(mark + text[:start], fenced["inner"], text[stop:], fenced["end"])
    if re.match(r"---[ \t]*\r?\n", text):
        raise ValueError("its front matter has no end")
    end = "\r\n" if "\r\n" in text else "\n"
    return _Parts(f"{mark}---{end}", "", f"---{end}{end if text else ''}{text}", end)


def _added(inner: str, entries: Mapping[str, Any], tags: Sequence[str], end: str) -> str:
    nodes = _nodes(inner)
    text = inner
    if "tags" in nodes:
        text = _with_tags(inner, nodes["tags"], tags, end)
    missing = {name: value for name, value in entries.items() if name not in nodes}
    if "tags" not in nodes and tags:
        missing["tags"] = list(tags)
    return text + _dumped(missing).replace("\n", end)


def _dumped(entries: Mapping[str, Any]) -> str:
    import yaml

    if not entries:
        return ""
    text: str = yaml.safe_dump(dict(entries), sort_keys=False, allow_unicode=True, width=1000)
    return text


def _loaded(inner: str) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(inner)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError("its front matter is no valid YAML") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("its front matter is no list of entries")
    return found


def _nodes(inner: str) -> dict[str, yaml.Node]:
    """Return the node of every entry. Raise ValueError for what is no block of entries."""
    import yaml

    _loaded(inner)
    root = yaml.compose(inner, Loader=yaml.SafeLoader)
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ValueError("its front matter is not written as lines of `name: value`")
    return {key.value: value for key, value in root.value}


def _with_tags(text: str, node: yaml.Node, tags: Sequence[str], end: str) -> str:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        present = [item.value for item in node.value if isinstance(item, yaml.ScalarNode)]
    else:
        present = [node.value] if isinstance(node, yaml.ScalarNode) and node.value else []
    missing = [tag for tag in tags if tag not in present]
    if not missing:
        return text
    start, stop = node.start_mark.index, node.end_mark.index
    if not isinstance(node, yaml.SequenceNode):  # one tag, or nothing behind the colon
        both = ", ".join([*(json.dumps(tag, ensure_ascii=False) for tag in present), *missing])
        return f"{text[:start]}{'' if present else ' '}[{both}]{text[stop:]}"
    if node.flow_style:
        before = text[: stop - 1].rstrip()
        comma = "" if before.endswith(("[", ",")) else ", "
        return f"{before}{comma}{', '.join(missing)}{text[stop - 1 :]}"
    last = node.value[-1].end_mark.index
    after = text.find("\n", last - 1) + 1 or len(text)
    line = text[text.rfind("\n", 0, node.value[0].start_mark.index) + 1 :]
    margin = line[: len(line) - len(line.lstrip(" "))]
    return text[:after] + "".join(f"{margin}- {tag}{end}" for tag in missing) + text[after:]
