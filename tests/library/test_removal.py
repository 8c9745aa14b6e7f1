"""Removal: what was named goes, shared contents stay, one that is cut off leaves no half model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localllm.errors import NotFoundError, StorageError, UsageError
from localllm.hub import shared_blobs
from localllm.hub.cache import CachedRepo, cache_directory
from localllm.hub.partial import Partial
from localllm.library import provenance, removal, usage
from localllm.library.entries import list_entries
from localllm.library.provenance import Made
from localllm.store import models_directory, shipped_checkpoint
from localllm.verbs.library import clean, find_leftovers, plan_removal, remove
from tests.cli.process import environment, files_below
from tests.library.places import (
    COMMIT,
    OTHER,
    checkpoint_files,
    gguf,
    put_cached,
    put_checkpoint,
    put_stored,
)
from tests.library.test_usage import start_using

BIG = gguf(payload=b"b" * 50_000)
SMALL = gguf(payload=b"s" * 1000)
links_only = pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")


def run(*names: str, checkpoint: bool = False) -> int:
    """Remove models and return how many bytes that freed, which must be what the plan says."""
    plan = plan_removal(names, checkpoint=checkpoint)
    before = total_bytes()
    result = remove(plan)
    assert result.freed_bytes == plan.size_bytes == before - total_bytes()
    return result.freed_bytes


def total_bytes() -> int:
    """Return the bytes of all files in the library and the cache, each once."""
    places = (models_directory(), cache_directory())
    return sum(
        path.lstat().st_size for path in files_below(*places) if path.is_file() and not path.is_symlink()
    )


def names() -> list[str]:
    return [entry.name for entry in list_entries().entries if entry.source != "shipped"]


def link(repo: CachedRepo, name: str, commit: str = COMMIT) -> Path:
    return repo.snapshot(commit) / name


# the cache ----------------------------------------------------------------------------------


def test_a_level_goes_the_rest_of_its_repository_stays() -> None:
    repo = put_cached("org/m", {"m-Q4_K_M.gguf": BIG, "m-Q8_0.gguf": SMALL, "README.md": b"r"})
    assert run("org/m:q4_k_m") == len(BIG)
    assert names() == ["org/m:Q8_0"]
    assert sorted(path.name for path in repo.snapshot(COMMIT).iterdir()) == ["README.md", "m-Q8_0.gguf"]
    assert repo.commit() == COMMIT


def test_a_level_goes_from_all_snapshots_a_revision_only_from_its_own() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL}, revision="v1")
    put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL, "x.md": b"x"}, commit=OTHER)
    assert run("org/m@v1:Q2_K") == 0  # the other commit needs the blob
    assert not link(repo, "m-Q2_K.gguf").exists()
    assert link(repo, "m-Q2_K.gguf", OTHER).exists()
    assert run("org/m:Q8_0") == len(BIG)
    assert not link(repo, "m-Q8_0.gguf").is_symlink()
    assert not link(repo, "m-Q8_0.gguf", OTHER).is_symlink()


def test_all_parts_of_a_split_model_and_their_folder_go() -> None:
    parts = {f"Q8_0/big-Q8_0-0000{number}-of-00002.gguf": gguf(payload=b"x" * number) for number in (1, 2)}
    repo = put_cached("org/big", {**parts, "big-Q2_K.gguf": SMALL})
    assert run("org/big:Q8_0") == sum(map(len, parts.values()))
    assert [path.name for path in repo.snapshot(COMMIT).iterdir()] == ["big-Q2_K.gguf"]


def test_a_whole_repository_goes_with_refs_lists_and_locks() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "README.md": b"readme"})
    other = put_cached("org/n", {"n-Q8_0.gguf": BIG})
    run("org/m")
    assert not repo.folder.exists()
    assert not repo.lock("").parent.exists()
    assert sorted(path.name for path in cache_directory().iterdir()) == [".locks", other.folder.name]
    assert names() == ["org/n:Q8_0"]


def test_the_last_file_takes_its_repository_along() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG})
    run("org/m:Q8_0")
    assert not repo.folder.exists()


def test_small_files_that_stay_are_told() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": BIG, "README.md": b"readme"})
    (only,) = plan_removal(["org/m:Q8_0"]).removals
    assert only.note == "1 small files of it stay (6 B); `localllm rm org/m` removes them, too"


def test_a_revision_goes_with_its_branch_and_list() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "a.md": b"a"}, revision="v1")
    put_cached("org/m", {"m-Q2_K.gguf": SMALL}, commit=OTHER)
    run("org/m@v1")
    assert repo.commits() == [OTHER]
    assert repo.revisions() == {"main": OTHER}
    assert repo.tree(COMMIT) is None
    assert names() == ["org/m:Q2_K"]


def test_a_file_by_name_and_two_models_at_one_level() -> None:
    repo = put_cached("org/m", {"a-Q8_0.gguf": BIG, "b-Q8_0.gguf": SMALL})
    with pytest.raises(UsageError, match="org/m has 2 models at Q8_0") as caught:
        plan_removal(["org/m:Q8_0"])
    assert caught.value.hint == "name one of them: `org/m/a-Q8_0.gguf`"
    assert run("org/m/a-Q8_0.gguf") == len(BIG)
    assert [path.name for path in repo.snapshot(COMMIT).iterdir()] == ["b-Q8_0.gguf"]


def test_several_levels_at_once_and_the_blob_they_share() -> None:
    put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q4_0.gguf": BIG, "m-Q2_K.gguf": SMALL})
    assert plan_removal(["org/m:Q8_0"]).size_bytes == 0
    assert run("org/m:Q8_0", "org/m:Q4_0") == len(BIG)
    assert names() == ["org/m:Q2_K"]


def test_an_incomplete_model_and_an_unfinished_download_go_too() -> None:
    repo = put_cached("org/m", {"m-Q8_0-00001-of-00002.gguf": BIG, "m-Q2_K.gguf": SMALL})
    part = Partial(repo.blob("c" * 64), "m-Q8_0-00002-of-00002.gguf", 3_000_000)
    part.write(part.attempt, 0, b"z" * 1_048_576)
    part.mark(part.attempt, 0, 1_048_576)
    part.close()
    run("org/m:Q8_0")
    assert sorted(path.name for path in (repo.folder / "blobs").iterdir()) == [
        link(repo, "m-Q2_K.gguf").resolve().name
    ]


def test_links_to_nothing_go_like_others() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL})
    link(repo, "m-Q8_0.gguf").resolve().unlink()
    assert run("org/m:Q8_0") == 0
    assert not link(repo, "m-Q8_0.gguf").is_symlink()


@links_only
def test_what_a_hostile_link_points_to_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL})
    for place in (link(repo, "m-Q8_0.gguf"), repo.folder / "blobs" / ("d" * 64)):
        place.unlink(missing_ok=True)
        place.symlink_to(precious)
    (repo.snapshot(COMMIT) / "folder").symlink_to(tmp_path)
    run("org/m:Q8_0")
    run("org/m")
    assert precious.read_bytes() == b"mine"


@links_only
def test_of_a_linked_repository_only_the_link_goes(tmp_path: Path) -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG})
    shutil.move(repo.folder, tmp_path / "elsewhere")
    repo.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="what lies there is not removed"):
        plan_removal(["org/m:Q8_0"])
    (only,) = plan_removal(["org/m"]).removals
    assert only.size_bytes == 0
    remove(plan_removal(["org/m"]))
    assert not repo.folder.is_symlink()
    assert (tmp_path / "elsewhere" / "snapshots").is_dir()


def test_copies_instead_of_links() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL}, copies=True)
    assert run("org/m:Q8_0") == len(BIG)
    assert [path.name for path in repo.snapshot(COMMIT).iterdir()] == ["m-Q2_K.gguf"]


def test_a_checkpoint_in_the_cache_goes_by_its_name() -> None:
    put_cached("org/base", checkpoint_files())
    run("org/base")
    assert names() == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("org/none", "`org/none` is not in the cache", "`localllm list` shows what is on this machine"),
        ("org/m:Q6_K", "`org/m:Q6_K` is not in the cache", "it is there at Q2_K, Q8_0"),
        ("org/m/no.gguf", "`org/m/no.gguf` is not in the cache", "it is there at Q2_K, Q8_0"),
        ("org/m@v9", "`org/m` is not in the cache at v9", f"it is there at {COMMIT}, main"),
    ],
)
def test_what_is_not_there(text: str, message: str, hint: str) -> None:
    put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL})
    with pytest.raises(NotFoundError) as caught:
        plan_removal([text])
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("text", ["./m.gguf", "/etc", "~/x", "https://host/m.gguf", "a/b/c/d"])
def test_paths_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no name in the library and no repository"):
        plan_removal([text])


# the cache's common store -------------------------------------------------------------------


def share(repo: CachedRepo, name: str, number: str) -> Path:
    """Move a blob into the common store as huggingface_hub does; return where its contents are."""
    from huggingface_hub.utils import _shared_blobs

    blob = link(repo, name)
    blob = Path(os.path.normpath(blob.parent / blob.readlink()))
    assert _shared_blobs.publish_blob_to_shared_store(
        blob_path=str(blob),
        xet_hash=number * 64,
        cache_dir=repo.folder.parent,
        expected_size=blob.stat().st_size,
    )
    target = shared_blobs.store_target(blob, repo.folder.parent)
    assert target is not None
    return target


@links_only
@pytest.mark.parametrize("text", ["org/m", "org/m:Q8_0"])
def test_shared_contents_go_with_the_last_who_has_them(text: str) -> None:
    first = put_cached("org/m", {"m-Q8_0.gguf": BIG, "README.md": b"r"})
    second = put_cached("org/n", {"n-Q8_0.gguf": BIG})
    target = share(first, "m-Q8_0.gguf", "e")
    assert share(second, "n-Q8_0.gguf", "e") == target
    assert plan_removal([text]).size_bytes < len(BIG)
    remove(plan_removal([text]))
    assert target.read_bytes() == BIG
    assert names() == ["org/n:Q8_0"]
    plan = plan_removal(["org/n:Q8_0"])
    assert plan.size_bytes >= len(BIG)
    assert remove(plan).freed_bytes == plan.size_bytes
    assert not target.exists()


@links_only
def test_shared_contents_nobody_vouches_for_are_left_and_that_is_told() -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "README.md": b"r"})
    target = share(repo, "m-Q8_0.gguf", "e")
    target.with_name(f"{target.name}.refs").unlink()
    told: list[str] = []
    plan = plan_removal(["org/m:Q8_0"])
    result = remove(plan, emit=lambda event: told.append(getattr(event, "topic", "")))
    assert (told, result.freed_bytes, target.exists()) == (["shared-blobs"], 0, True)


def test_huggingface_hub_finds_the_cache_in_order_afterwards() -> None:
    from huggingface_hub import scan_cache_dir

    files = {"m-Q8_0.gguf": BIG, "sub/m-Q4_0.gguf": SMALL, "m-Q2_K.gguf": gguf(), "README.md": b"r"}
    put_cached("org/m", files, revision="v1")
    put_cached("org/m", files, commit=OTHER)
    put_cached("org/n", {"n-Q8_0.gguf": BIG})
    for text in ("org/m:Q8_0", "org/m@v1:Q4_0", "org/m/sub/m-Q4_0.gguf", "org/m@v1", "org/n:Q8_0", "org/m"):
        remove(plan_removal([text.replace("org/m/sub", "hf:org/m/sub")]))
        found = scan_cache_dir(cache_directory())
        assert found.warnings == [], text
    assert found.repos == frozenset()


# the library --------------------------------------------------------------------------------


def test_a_level_of_the_library_goes_with_its_record() -> None:
    path = put_stored("mine", "Q8_0", BIG)
    put_stored("mine", "Q4_0", SMALL)
    provenance.record([path], Made("quantize", "x"))
    run("mine:q8_0")
    assert [found.name for found in path.parent.iterdir()] == ["mine-Q4_0.gguf"]


def test_all_levels_go_with_all_that_was_made_along() -> None:
    directory = put_stored("mine", "Q8_0-00001-of-00002", BIG).parent
    put_stored("mine", "Q8_0-00002-of-00002", BIG), put_stored("mine", "imatrix", SMALL)
    for name in (".mine-Q8_0.made.json", ".mine-Q2_K.gguf.part-999999999", ".x.gguf.localllm.incomplete"):
        (directory / name).write_bytes(b"{}")
    run("mine")
    assert not directory.exists()
    assert models_directory().is_dir()


def test_what_the_user_put_there_stays() -> None:
    directory = put_checkpoint("mine")
    put_stored("mine", "Q8_0")
    (directory / "notes.txt").write_text("mine")
    (only,) = plan_removal(["mine"]).removals
    assert only.note == "its checkpoint stays"
    run("mine")
    assert {path.name for path in directory.iterdir()} == {*checkpoint_files(), "notes.txt"}


@pytest.mark.parametrize(("is_adapter", "word"), [(False, "a checkpoint"), (True, "an adapter")])
def test_a_checkpoint_goes_only_when_that_is_asked_for(is_adapter: bool, word: str) -> None:
    directory = put_checkpoint("mine", adapter=is_adapter)
    with pytest.raises(UsageError, match=f"`mine` is {word} in the library") as caught:
        plan_removal(["mine"])
    assert caught.value.hint == f"`localllm rm mine --checkpoint` removes {directory} with all that is in it"
    with pytest.raises(UsageError, match="a checkpoint has no level"):
        plan_removal(["mine:Q8_0"], checkpoint=True)
    run("mine", checkpoint=True)
    assert not directory.exists()


def test_what_ships_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = shipped_checkpoint("demo")
    assert shipped is not None
    for checkpoint in (False, True):
        with pytest.raises(UsageError, match="ships with localllm"):
            plan_removal(["demo"], checkpoint=checkpoint)
    monkeypatch.setenv("LOCALLLM_HOME", str(shipped.parent.parent))  # as in a checkout
    with pytest.raises(UsageError, match="the checkpoint of `demo` ships with localllm"):
        plan_removal(["demo"], checkpoint=True)


@links_only
def test_links_in_the_library_go_what_they_point_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x-Q8_0.gguf").write_bytes(BIG)
    link_to_file = put_stored("mine", "Q8_0")
    link_to_file.unlink()
    link_to_file.symlink_to(outside / "x-Q8_0.gguf")
    (models_directory() / "other").symlink_to(outside)
    with pytest.raises(UsageError, match="what lies there is not removed"):
        plan_removal(["other:Q8_0"])
    assert run("mine", "other") == 0
    assert names() == []
    assert (outside / "x-Q8_0.gguf").read_bytes() == BIG


def test_unknown_names_and_levels_of_the_library() -> None:
    put_stored("my-finetune", "Q8_0")
    with pytest.raises(NotFoundError, match="`my-finetun` is not in the library") as caught:
        plan_removal(["my-finetun"])
    assert caught.value.hint == "did you mean `my-finetune`?"
    with pytest.raises(NotFoundError, match="`my-finetune` is not in the library at Q2_K") as caught:
        plan_removal(["my-finetune:Q2_K"])
    assert caught.value.hint == "it is there at Q8_0"


def test_everything_is_planned_before_anything_goes() -> None:
    put_stored("mine", "Q8_0")
    with pytest.raises(NotFoundError):
        plan_removal(["mine", "nobody"])
    assert names() == ["mine:Q8_0"]


# others at work -----------------------------------------------------------------------------

_DOWNLOADER = """
import sys
from huggingface_hub.utils import WeakFileLock
with WeakFileLock(sys.argv[1]):
    print("downloading", flush=True)
    sys.stdin.read()
"""


def start_downloading(lock: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _DOWNLOADER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "downloading\n"
    return process


@pytest.mark.parametrize("text", ["org/m", "org/m:Q8_0"])
def test_what_is_being_downloaded_stays(text: str) -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q2_K.gguf": SMALL})
    lock = repo.lock(link(repo, "m-Q8_0.gguf").resolve().name)
    process = start_downloading(lock)
    plan = None
    with pytest.raises(StorageError, match="is being downloaded by another process") as caught:
        plan = plan_removal([text])
    assert plan is None
    assert caught.value.hint == f"wait for it to end; if there is none, remove {lock}"
    assert run("org/m:Q2_K") == len(SMALL)
    process.kill()
    process.communicate()
    run(text)
    assert names() == []


@pytest.mark.skipif(sys.platform == "win32", reason="there open files cannot be removed anyway")
def test_what_is_in_use_stays() -> None:
    path = put_stored("mine", "Q8_0")
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG})
    processes = [start_using(path), start_using(link(repo, "m-Q8_0.gguf"))]
    for text in ("mine", "mine:Q8_0", "org/m", "org/m:Q8_0"):
        with pytest.raises(StorageError, match="is in use by another localllm"):
            plan_removal([text])
    for process in processes:
        process.kill()
        process.communicate()
    remove(plan_removal(["mine", "org/m"]))
    assert names() == []


def test_what_is_being_written_stays() -> None:
    path = put_stored("mine", "Q8_0")
    part = path.with_name(f".mine-Q8_0.gguf.part-{os.getppid()}")
    part.write_bytes(b"x")
    for text in ("mine", "mine:Q8_0"):
        with pytest.raises(StorageError, match=f"written by another localllm, process {os.getppid()}"):
            plan_removal([text])
    part.rename(path.with_name(f".mine-Q2_K.gguf.part-{os.getppid()}"))
    run("mine:Q8_0")


def test_a_removed_model_has_never_been_used() -> None:
    path = put_stored("mine", "Q8_0")
    usage.note_use(path)
    remove(plan_removal(["mine"]))
    assert usage.last_used(path) is None


# cut off ------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", range(4))
def test_a_removal_that_is_cut_off_leaves_no_link_to_nothing(
    calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "m-Q4_0.gguf": SMALL, "README.md": b"r"})
    unlink, counted = Path.unlink, 0

    def failing(self: Path, missing_ok: bool = False) -> None:
        nonlocal counted
        if counted == calls:
            raise KeyboardInterrupt
        counted += 1
        unlink(self, missing_ok)

    plan = plan_removal(["org/m:Q8_0", "org/m:Q4_0"])
    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(KeyboardInterrupt):
        remove(plan)
    monkeypatch.setattr(Path, "unlink", unlink)
    assert all(path.exists() for path in repo.snapshot(COMMIT).iterdir())
    assert all(Path(entry.path).exists() for entry in list_entries().entries)


def test_a_folder_is_gone_at_once_and_the_rest_is_cleaned_up_later(monkeypatch: pytest.MonkeyPatch) -> None:
    repo, directory = put_cached("org/m", {"m-Q8_0.gguf": BIG}), put_checkpoint("mine")
    plan = plan_removal(["org/m", "mine"], checkpoint=True)

    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, "remove_tree", killed)
        patch.setattr(os, "getpid", lambda: 999_999_999)
        for each in plan.removals:
            with pytest.raises(KeyboardInterrupt):
                remove(removal.RemovalPlan((each,)))
    assert (repo.folder.exists(), directory.exists(), names()) == (False, False, [])
    found = find_leftovers()
    assert found.size_bytes > len(BIG)
    assert clean(found).freed_bytes == found.size_bytes
    assert total_bytes() == 0


_KILLED = """
import os, pathlib, signal, sys
from localllm.verbs.library import plan_removal, remove
plan = plan_removal(["org/m:Q8_0", "mine"])
left = int(sys.argv[1])
unlink = pathlib.Path.unlink
def killing(path, missing_ok=False):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    unlink(path, missing_ok)
pathlib.Path.unlink = killing
remove(plan)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("left", range(5))
def test_after_a_removal_that_was_killed_the_next_one_ends_it(left: int) -> None:
    repo = put_cached("org/m", {"m-Q8_0.gguf": BIG, "README.md": b"r"})
    for number in (1, 2):
        put_stored("mine", f"Q8_0-0000{number}-of-00002")
    put_stored("mine", "Q4_0")
    result = subprocess.run([sys.executable, "-c", _KILLED, str(left)], env=environment(), check=False)
    assert result.returncode == -9
    assert all(path.exists() for path in repo.snapshot(COMMIT).iterdir())
    for text in ("org/m:Q8_0", "mine"):
        try:
            remove(plan_removal([text]))
        except NotFoundError:
            continue
    clean(find_leftovers(include_resumable=True))
    assert names() == []
    assert list(models_directory().iterdir()) == []
    assert [path.name for path in (repo.folder / "blobs").iterdir()] == [
        link(repo, "README.md").resolve().name
    ]


def test_a_file_system_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_stored("mine", "Q8_0")
    plan = plan_removal(["mine"])

    def refusing(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refusing)
    with pytest.raises(StorageError, match=f"cannot remove {path}: Permission denied"):
        remove(plan)
