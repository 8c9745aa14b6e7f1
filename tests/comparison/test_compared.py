"""What MODEL means: which files are measured, which levels are made, and what they are compared with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from localllm.errors import NotFoundError, UnknownLevelError, UsageError
from localllm.events import Emit, ignore
from localllm.library.found import Found, Kind
from localllm.store import Resolved, output_path, shipped_checkpoint
from localllm.verbs import compared as compared_module
from localllm.verbs.compared import Compared, what_to_compare

RECOMMENDED = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")


def found(*models: str | Path, levels: tuple[str, ...] = (), against: str | Path | None = None) -> Compared:
    return what_to_compare(models, levels, against, ignore)


@pytest.fixture
def in_library(demo_files: dict[str, Path]) -> dict[str, Path]:
    """Put Q2_K and Q8_0 of the demo into the library."""
    places = {}
    for level in ("Q2_K", "Q8_0"):
        places[level] = output_path("demo", level)
        places[level].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_files[level], places[level])
    return places


def test_a_checkpoint_without_files_gets_the_recommended_levels() -> None:
    compared = found("demo")
    assert (compared.name, compared.files, compared.origin) == ("demo", (), "demo")
    assert compared.missing == RECOMMENDED
    assert (compared.against, compared.reference) == ("demo", "BF16")
    assert compared.source == shipped_checkpoint("demo")


def test_two_files_that_are_there_are_enough(in_library: dict[str, Path]) -> None:
    compared = found("demo")
    assert set(compared.files) == set(in_library.values())
    assert compared.missing == ()
    assert compared.reference == "BF16"


def test_one_file_is_not(in_library: dict[str, Path]) -> None:
    in_library["Q2_K"].unlink()
    compared = found("demo")
    assert compared.files == (in_library["Q8_0"],)
    assert compared.missing == RECOMMENDED[:-1]


def test_only_the_levels_asked_for(in_library: dict[str, Path]) -> None:
    compared = found("demo", levels=("q8_0,Q3_K_M",))
    assert compared.files == (in_library["Q8_0"],)
    assert compared.missing == ("Q3_K_M",)
    assert len(found("demo", levels=("all",)).missing) == 10
    with pytest.raises(UnknownLevelError):
        found("demo", levels=("Q9",))


def test_a_level_behind_the_colon(in_library: dict[str, Path]) -> None:
    assert found("demo:q2_k").files == (in_library["Q2_K"],)
    compared = found("demo:Q5_K_M")
    assert (compared.files, compared.missing, compared.origin) == ((), ("Q5_K_M",), "demo")


def test_files_older_than_the_checkpoint_are_made_again(tmp_path: Path, demo_files: dict[str, Path]) -> None:
    shipped = shipped_checkpoint("demo")
    assert shipped is not None
    checkpoint = tmp_path / "tuned"
    shutil.copytree(shipped, checkpoint)
    place = output_path("tuned", "Q8_0")
    place.parent.mkdir(parents=True)
    shutil.copy(demo_files["Q8_0"], place)
    assert found(checkpoint, levels=("Q8_0",)).files == (place,)
    os.utime(place, (1, 1))
    compared = found(checkpoint, levels=("Q8_0",))
    assert (compared.files, compared.missing, compared.name) == ((), ("Q8_0",), "tuned")


def test_files_are_what_they_are(demo_files: dict[str, Path]) -> None:
    compared = found(demo_files["Q2_K"], demo_files["Q8_0"])
    assert compared.files == (demo_files["Q2_K"], demo_files["Q8_0"])
    assert (compared.missing, compared.reference, compared.against_file, compared.source) == (
        (),
        None,
        None,
        None,
    )


def test_an_unquantized_file_alone_gets_levels(demo_files: dict[str, Path]) -> None:
    compared = found(demo_files["BF16"])
    assert compared.files == (demo_files["BF16"],)
    assert compared.missing == RECOMMENDED
    assert compared.origin == str(demo_files["BF16"])
    assert (compared.reference, compared.against_file) == (None, demo_files["BF16"])


def test_a_quantized_file_alone_is_measured_alone(demo_files: dict[str, Path]) -> None:
    compared = found(demo_files["Q2_K"])
    assert (compared.files, compared.missing, compared.reference) == ((demo_files["Q2_K"],), (), None)


def test_levels_need_something_to_be_made_from(demo_files: dict[str, Path]) -> None:
    with pytest.raises(NotFoundError, match="is not there at Q4_0"):
        found(demo_files["Q2_K"], levels=("Q4_0",))


def test_a_directory_of_files(demo_files: dict[str, Path]) -> None:
    compared = found(demo_files["BF16"].parent)
    assert len(compared.files) == 4
    assert compared.name == "demo"
    assert compared.against_file == demo_files["BF16"]


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds neither"):
        found(tmp_path)


def test_what_to_compare_with(demo_files: dict[str, Path]) -> None:
    compared = found(demo_files["Q2_K"], against=demo_files["Q8_0"])
    assert (compared.against_file, compared.reference) == (demo_files["Q8_0"], None)
    compared = found(demo_files["Q2_K"], against="demo")
    assert (compared.against, compared.reference, compared.origin) == ("demo", "BF16", None)


def test_an_adapter_is_nothing_to_run() -> None:
    with pytest.raises(UsageError, match="is an adapter") as raised:
        found("demo-persona")
    assert "localllm quantize demo-persona" in (raised.value.hint or "")


def test_nothing_and_unknown_names() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        found()
    with pytest.raises(NotFoundError):
        found("no-such-model")


def test_levels_of_a_repository_are_downloaded(
    demo_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository with GGUF files of which one is here: what else is asked for can only come from there."""
    here = [demo_files["Q4_K_M"]]
    pulled: list[str] = []

    def pull(*models: str, emit: Emit) -> None:
        pulled.extend(models)
        here.extend(demo_files[model.partition(":")[2]] for model in models if ":" in model)

    models = lambda text: [Found(text, Kind.MODEL, None, (path,), commit="abc") for path in here]  # noqa: E731
    monkeypatch.setattr(compared_module, "have", pull)
    monkeypatch.setattr(compared_module, "find", models)
    monkeypatch.setattr(
        compared_module, "resolve_source", lambda text: Resolved("org--repo", here[0], "Q4_K_M")
    )
    assert found("org/repo").files == (demo_files["Q4_K_M"],)
    compared = found("org/repo", levels=("Q4_K_M,Q8_0",))
    assert pulled == ["org/repo", "org/repo", "org/repo:Q8_0"]
    assert compared.files == (demo_files["Q4_K_M"], demo_files["Q8_0"])
    assert (compared.missing, compared.name) == ((), "org--repo")
