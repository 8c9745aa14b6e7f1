"""What ships: the wheel lists every file of the demo models, and nothing that was made of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_MADE = (".gguf",)


def shipped() -> dict[str, str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    files: dict[str, str] = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    return files


def test_the_wheel_lists_every_file_of_the_demo_models() -> None:
    present = {
        f"models/{name}/{path.name}"
        for name in ("demo", "demo-persona")
        for path in (ROOT / "models" / name).iterdir()
        if path.suffix not in _MADE and not path.name.startswith(".")
    }
    assert set(shipped()) == present


def test_files_keep_their_place_in_the_package() -> None:
    for source, target in shipped().items():
        assert target == source.replace("models/", "localllm/shipped/", 1)


def test_the_demo_is_small() -> None:
    assert (ROOT / "models" / "demo" / "model.safetensors").stat().st_size <= 10_000_000
