"""Every family is described by what it is, and every level of it can be planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localllm.cli.inspection_view import show_description
from localllm.cli.output import Output
from localllm.conversion.convert import convert
from localllm.gguf_file import read_header
from localllm.inspection.gguf_description import describe
from localllm.quantization.levels import parse_levels
from localllm.verbs.quantize import plan_quantization
from tests.conversion.tiny_families import FAMILIES, write_tiny_family

STATES = (".ssm_out.", ".shortconv.conv.")


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_shown(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = convert(write_tiny_family(tmp_path / name, name), output=tmp_path / "model.gguf").path
    header = read_header(path)
    capsys.readouterr()
    show_description(Output("inspect", as_json=True), describe(header, str(path)))
    shown = json.loads(capsys.readouterr().out)["data"]
    own = shown["dimensions"]
    states = {block(tensor.name) for tensor in header.tensors if any(part in tensor.name for part in STATES)}
    recurrence = own["recurrence"] or {"layers": 0, "state_bytes": 0}
    assert recurrence["layers"] == len(states)
    assert (recurrence["state_bytes"] > 0) == bool(states)
    mixtures = {block(tensor.name) for tensor in header.tensors if "_exps." in tensor.name}
    assert bool(own["experts"]) == bool(mixtures)
    if mixtures:
        assert 0 < shown["active_parameters"] < shown["parameters"]
    assert own["layers"] == 1 + max(block(tensor.name) for tensor in header.tensors)
    assert own["mtp_layers"] is None
    caches = [context["cache_bytes"] for context in shown["memory"]["contexts"]]
    assert (caches[0] == recurrence["state_bytes"]) == (len(states) == own["layers"])
    assert not shown["problems"]


def block(name: str) -> int:
    """Return the layer of a tensor, -1 for those outside of the layers."""
    return int(name.split(".")[1]) if name.startswith("blk.") else -1


@pytest.mark.parametrize("name", FAMILIES)
def test_all_levels_are_planned(name: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    plan = plan_quantization(write_tiny_family(tmp_path / name, name), ["all"], output=output)
    sizes = {each.level.name: each.size_bytes for each in plan.levels}
    assert set(sizes) == {level.name for level in parse_levels(["all"])}
    assert sizes["Q2_K"] < sizes["Q4_K_M"] < sizes["Q8_0"]
    assert not output.exists()
