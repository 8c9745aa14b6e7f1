"""What a wheel and an editable installation get of the kernels; hatch_build.py is what hatchling calls."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class NotBuiltError(Exception):
    pass


@pytest.fixture
def hook_module() -> ModuleType:
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Installation:
    """The hook, run over a directory with a compiler that writes two small files, or none."""

    def __init__(self, module: ModuleType, root: Path, version: str, *, can_compile: bool) -> None:
        self.warnings: list[str] = []
        self.data: dict[str, Any] = {"force_include": {}, "pure_python": True}
        self.root, self.package = root, root / module.PACKAGE
        self.package.mkdir(parents=True)
        (self.package / "lanes.so").write_text("of an older checkout")

        def build(directory: Path) -> list[Path]:
            if not can_compile:
                raise NotBuiltError("no C compiler was found")
            made = [directory / "lanes.so", directory / "lanes.so.sha256"]
            for path in made:
                path.write_text("new")
            return made

        module.builder = lambda _: SimpleNamespace(build=build, NotBuiltError=NotBuiltError)  # type: ignore[attr-defined]
        app = SimpleNamespace(display_warning=self.warnings.append)
        self._hook = module.KernelsBuildHook(str(root), {}, None, None, str(root), "wheel", app)
        self._hook.initialize(version, self.data)
        self.seen = {target: Path(path).read_text() for path, target in self.data["force_include"].items()}
        self._hook.finalize(version, self.data, "")


def test_a_wheel_holds_the_library_and_is_for_this_platform(hook_module: ModuleType, tmp_path: Path) -> None:
    done = Installation(hook_module, tmp_path, "standard", can_compile=True)
    assert done.seen == {
        "localllm/kernels/lanes.so": "new",
        "localllm/kernels/lanes.so.sha256": "new",
    }
    assert done.data["pure_python"] is False
    assert done.data["tag"].startswith("py3-none-")
    assert "any" not in done.data["tag"].split("-")
    assert (done.package / "lanes.so").read_text() == "of an older checkout"  # not its business
    assert not any(Path(path).exists() for path in done.data["force_include"])


def test_an_editable_installation_has_it_in_the_checkout(hook_module: ModuleType, tmp_path: Path) -> None:
    done = Installation(hook_module, tmp_path, "editable", can_compile=True)
    assert {path.name: path.read_text() for path in done.package.iterdir()} == {
        "lanes.so": "new",
        "lanes.so.sha256": "new",
    }
    assert done.data == {"force_include": {}, "pure_python": True}


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_without_a_compiler_there_is_a_notice(version: str, hook_module: ModuleType, tmp_path: Path) -> None:
    done = Installation(hook_module, tmp_path, version, can_compile=False)
    assert done.data == {"force_include": {}, "pure_python": True}
    (warning,) = done.warnings
    assert warning.startswith("The quantization kernels were not built: no C compiler was found.")
    if version == "editable":
        assert list(done.package.iterdir()) == []  # nothing made of other sources stays


def test_the_project_names_the_hook_and_git_ignores_what_it_makes() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "custom" in wheel["hooks"]
    assert "/localllm/kernels/source" in wheel["exclude"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/localllm/kernels/lanes.so", "/localllm/kernels/lanes.so.sha256"} <= set(ignored)
