"""Families are small tables, and nothing else in the tool asks which family a model is of."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import localllm
from localllm.conversion.families import FAMILIES

_PACKAGE = Path(localllm.__file__).parent
_TABLES = _PACKAGE / "conversion" / "families"
# names of tokenizers and of ways to split texts, too
_TOKENIZERS = {"llama", "llama4", "gpt2", "qwen2", "qwen3", "qwen35", "lfm2", "glm4", "gpt-oss", "gemma4"}
_NAMES = {name for table in FAMILIES for name in (table.arch, table.name, *table.architectures)} - _TOKENIZERS


def _sources(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.rglob("*.py")) if path.parent != _TABLES]


@pytest.mark.parametrize("path", sorted(_TABLES.glob("*.py")), ids=lambda path: str(path.stem))
def test_each_family_is_a_small_table(path: Path) -> None:
    assert path.name == "__init__.py" or len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_families_share_no_architecture_that_does_not_tell_them_apart() -> None:
    for table in FAMILIES:
        rivals = [other for other in FAMILIES if set(other.architectures) & set(table.architectures)]
        assert len(rivals) == 1 or len({other.matches for other in rivals}) == len(rivals)


def test_the_order_of_families_is_that_of_their_files() -> None:
    order = [re.sub(r"\W", "", table.name.lower()) for table in FAMILIES]
    assert order.index("gpt2") < order.index("llama") < order.index("qwen2") < order.index("stablelm")


def test_the_converter_names_no_family() -> None:
    asked = re.compile("|".join(f'"{re.escape(name)}"' for name in sorted(_NAMES)))
    found = {path.name: asked.findall(path.read_text("utf-8")) for path in _sources(_PACKAGE / "conversion")}
    assert not {name: names for name, names in found.items() if names}


def test_nothing_compares_with_the_name_of_a_family() -> None:
    found = [
        f"{path.relative_to(_PACKAGE)}:{node.lineno}"
        for path in _sources(_PACKAGE)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Compare | ast.Match)
        and {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)} & _NAMES
    ]
    assert not found
