"""Builds the optional kernels of localllm/kernels while a wheel, or an editable installation, is made.

Where they cannot be built the installation goes on without them and says so: the wheel is then pure Python.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

PACKAGE = "localllm/kernels"


class KernelsBuildHook(BuildHookInterface[Any]):
    """Adds the library to the wheel, or leaves it in the checkout that is installed as editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        kernels = builder(Path(self.root))
        self._folder = tempfile.TemporaryDirectory(prefix="localllm-wheel-", ignore_cleanup_errors=True)
        is_editable = version == "editable"
        place = Path(self.root) / PACKAGE if is_editable else Path(self._folder.name)
        for old in place.glob("lanes.so*"):  # of other sources, perhaps
            old.unlink()
        try:
            made = kernels.build(place)
        except kernels.NotBuiltError as error:
            self.app.display_warning(
                f"The quantization kernels were not built: {error}. Quantizing works, but more slowly"
            )
            return
        if not is_editable:
            build_data["force_include"].update({str(path): f"{PACKAGE}/{path.name}" for path in made})
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()


def builder(root: Path) -> ModuleType:
    """Import the module that compiles, without the package around it, which is not installed yet."""
    spec = importlib.util.spec_from_file_location("localllm_kernels_build", root / PACKAGE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def platform_tag() -> str:
    """Return this platform's own tag: what is compiled here promises nothing about other systems."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))
