"""Every family: llama.cpp computes from our conversion what transformers computed from the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from localllm.conversion.families import FAMILIES as TABLES
from tests.conversion.logits import load_golden, relative_difference, runtime_logits
from tests.conversion.tiny_families import FAMILIES, write_tiny_family

# llama.cpp looks GELU up in a table of 16-bit values; everything else is computed in float32
_USES_GELU = ("gemma2", "gemma3", "gemma4", "gemma4-ple", "gemma4-moe", "gpt2", "gpt-neox")


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    found = runtime_logits(write_tiny_family(tmp_path / name, name))
    allowed = 2e-3 if name in _USES_GELU else 2e-5
    assert relative_difference(found, load_golden(name)) < allowed


def test_every_table_has_a_checkpoint() -> None:
    tried = {family.architecture for family in FAMILIES.values()}
    assert not [table.name for table in TABLES if not tried & set(table.architectures)]
