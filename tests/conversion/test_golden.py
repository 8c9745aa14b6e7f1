"""Our conversions equal the reference converter's, tensor by tensor and key by key, without running it.

`scripts/check_parity.py --write-golden` made the golden files; each says which sources it was made from.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from localllm.conversion.convert import convert
from localllm.conversion.out_type import OutType
from localllm.store import shipped_checkpoint
from tests.conversion.golden_checkpoints import TINY
from tests.conversion.parity import DEVIATIONS, GOLDEN, OUT_TYPES, differences, digest, source_hashes
from tests.conversion.tiny_families import FAMILIES

# which deviations of tests/conversion/parity.py each checkpoint shows
EXPECTED: dict[str, set[str]] = {
    "demo": set(),
    "tiny-llama": set(),
    "tiny-gpt-oss-mxfp4": set(),
    "tiny-llama3": {"tokenizer.ggml.add_sep_token"},
    "tiny-mistral-v0.2-instruct": {"output.weight", "general.size_label", "tokenizer.chat_template"},
    **{f"tiny-{name}": set() for name, family in FAMILIES.items() if not family.reference_fails},
    "tiny-qwen2-moe": {"output.weight"},
    "tiny-olmo2": {"output.weight"},
    "tiny-llama-2": {"tokenizer.ggml.unknown_token_id"},
    "tiny-gemma2": {"tokenizer.ggml.unknown_token_id"},
    "tiny-gemma3": {"tokenizer.ggml.unknown_token_id"},
    **{
        f"tiny-{name}": {"tokenizer.ggml.add_sep_token", "tokenizer.ggml.eot_token_id"}
        for name, family in FAMILIES.items()
        if family.pairs
    },
    "tiny-phi3": {"tokenizer.ggml.unknown_token_id"},
    "tiny-phi3-long": {"tokenizer.ggml.unknown_token_id"},
    "tiny-granite4-dense": {
        *(d.name for d in DEVIATIONS if d.name.startswith("granite.")),
    },
    "tiny-granite4-moe": {
        *(d.name for d in DEVIATIONS if d.name.startswith("granitemoe.")),
    },
    "tiny-mamba2-codestral": {"tokenizer.ggml.unknown_token_id"},
    "tiny-gpt-neox": {"general.file_type", "gptneox.rope.freq_base"},
    "tiny-careless": {
        "general.name",
        "general.description",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.unknown_token_id",
    },
}
NOT_IN_GOLDEN_FILES = {
    "tokenizer.ggml.add_bos_token",  # needs a vocabulary of 49152
    "tokenizer.chat_templates",  # differs in some runs only
}


@cache
def golden(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="ascii"))
    return content


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("checkpoints")
    demo = shipped_checkpoint("demo")
    assert demo is not None
    return {"demo": demo, **{name: build(directory / name) for name, build in TINY.items()}}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_golden_file_belongs_to_this_checkpoint(name: str, checkpoints: dict[str, Path]) -> None:
    current, recorded = source_hashes(checkpoints[name]), golden(name)["sources"]
    stale = sorted(file for file in {*current, *recorded} if current.get(file) != recorded.get(file))
    assert not stale, f"{stale} changed: run scripts/check_parity.py --write-golden (its docstring says how)"


@pytest.mark.parametrize("kind", OUT_TYPES)
@pytest.mark.parametrize("name", EXPECTED)
def test_only_the_listed_deviations(
    name: str, kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "own.gguf"
    convert(checkpoints[name], output=output, out_type=OutType(kind))
    found = differences(golden(name)[kind], digest(output))
    assert {difference.name for difference in found} == EXPECTED[name], "\n".join(map(str, found))
    assert all(difference.reason for difference in found)


def test_every_deviation_is_seen() -> None:
    seen = set[str]().union(*EXPECTED.values())
    assert {deviation.name for deviation in DEVIATIONS} - NOT_IN_GOLDEN_FILES == seen
