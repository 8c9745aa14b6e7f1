"""The stock client, in processes of its own, takes the stand-in for the hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.stand_in import ExtraEntry, Fault, HubStandIn, Repo

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="needs huggingface_hub"
)

NAME = "org/model"
SMALL = {"config.json": b'{"model_type": "llama"}', "sub/notes.txt": "grüß dich\n".encode()}
LARGE = random.Random(5).randbytes(12_000_000)
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()
PREPARATION = """
import json, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

def error(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
    return "none"
"""


@pytest.fixture
def repo() -> Repo:
    return Repo(NAME, {**SMALL, "model-Q4_K_M.gguf": LARGE})


@pytest.fixture
def hub(repo: Repo) -> Iterator[HubStandIn]:
    with HubStandIn([repo], users={"hf_known": "somebody"}) as hub:
        yield hub


def python(hub: HubStandIn, home: Path, code: str, **options: Any) -> Any:
    """Run code that knows huggingface_hub; return the JSON object that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", PREPARATION + textwrap.dedent(code)],
        env=hub.environment(home, **options),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def hf_command(*arguments: str) -> list[str]:
    executable = Path(sys.executable).with_name("hf.exe" if sys.platform == "win32" else "hf")
    if not executable.exists():
        pytest.skip("needs the `hf` command beside the interpreter")
    return [str(executable), *arguments]


def hf(hub: HubStandIn, home: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the stock command."""
    environment = hub.environment(home, **options)
    return subprocess.run(
        hf_command(*arguments), env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def cache_of(home: Path) -> Path:
    return home / "huggingface" / "hub" / "models--org--model"


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.01)


def test_a_whole_repository_becomes_the_standard_cache(hub: HubStandIn, repo: Repo, tmp_path: Path) -> None:
    result = hf(hub, tmp_path, "download", NAME, token="hf_known")
    assert result.returncode == 0, result.stderr

    cache = cache_of(tmp_path)
    snapshot = cache / "snapshots" / repo.head
    blobs = {path.name: path.read_bytes() for path in (cache / "blobs").iterdir()}
    assert blobs.pop(LARGE_SHA256) == LARGE
    assert blobs == {
        hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest(): content
        for content in SMALL.values()
    }
    assert (snapshot / "sub" / "notes.txt").read_bytes() == SMALL["sub/notes.txt"]
    assert (snapshot / "model-Q4_K_M.gguf").resolve() == (cache / "blobs" / LARGE_SHA256).resolve()
    assert (cache / "refs" / "main").read_text() == repo.head
    tree = json.loads((cache / "trees" / f"{repo.head}.json").read_text())["files"]
    assert set(tree) == {*SMALL, "model-Q4_K_M.gguf"}
    assert tree["model-Q4_K_M.gguf"]["lfs_sha256"] == LARGE_SHA256

    large = [request for request in hub.requests if request.path.endswith(".gguf")]
    assert [(request.method, request.port, request.status) for request in large] == [
        ("HEAD", "hub", 302),
        ("GET", "cdn", 200),
    ]
    resolved = [request for request in hub.requests if "/resolve/" in request.path]
    assert all(request.has_authorization for request in resolved)
    assert not large[-1].has_authorization


def test_one_file_of_an_old_commit_a_tag_and_a_branch(hub: HubStandIn, repo: Repo, tmp_path: Path) -> None:
    old = repo.head
    repo.tag("v1")
    repo.commit({"config.json": b"{}"})
    repo.branch("pr/1", old)
    repo.commit({"config.json": b"[]"}, branch="pr/1")
    result = hf(hub, tmp_path, "download", NAME, "config.json", "--revision", old, "--quiet")
    assert Path(result.stdout.strip()).read_bytes() == SMALL["config.json"]

    code = """
    read = lambda revision: open(hf_hub_download("org/model", "config.json", revision=revision)).read()
    print(json.dumps([read(revision) for revision in (None, "v1", "pr/1")]))
    """
    assert python(hub, tmp_path, code) == ["{}", SMALL["config.json"].decode(), "[]"]
    assert (cache_of(tmp_path) / "refs" / "pr" / "1").read_text() == repo.branches["pr/1"]


def test_every_refusal_has_its_own_error(hub: HubStandIn, tmp_path: Path) -> None:
    hub.add_repo(Repo("org/gated", SMALL, gated=True, tokens={"hf_member"}))
    hub.add_repo(Repo("org/private", SMALL, private=True, tokens={"hf_member"}))
    hub.add_repo(Repo("org/disabled", SMALL, disabled=True))
    code = """
    def file(repo, token, name="config.json", **how):
        return error(hf_hub_download, repo, name, token=token, **how)

    print(json.dumps({
        "gated, nobody": file("org/gated", False),
        "gated, stranger": file("org/gated", "hf_known"),
        "gated, member": file("org/gated", "hf_member"),
        "gated, snapshot": error(snapshot_download, "org/gated", token=False),
        "gated, check": error(HfApi().auth_check, "org/gated", token=False),
        "private, nobody": file("org/private", False),
        "private, stranger": file("org/private", "hf_known"),
        "private, member": file("org/private", "hf_member"),
        "missing": file("org/mode", False),
        "missing, snapshot": error(snapshot_download, "org/mode", token=False),
        "disabled": error(HfApi().model_info, "org/disabled", token=False),
        "no such file": file("org/model", False, "nothing.json"),
        "no such revision": file("org/model", False, revision="nothing"),
        "no such revision, snapshot": error(snapshot_download, "org/model", revision="nothing"),
        "bad token": file("org/model", "hf_bad"),
        "whoami": HfApi().whoami("hf_known")["name"],
    }))
    """
    assert python(hub, tmp_path, code) == {
        "gated, nobody": "GatedRepoError",
        "gated, stranger": "GatedRepoError",
        "gated, member": "none",
        "gated, snapshot": "GatedRepoError",
        "gated, check": "GatedRepoError",
        "private, nobody": "RepositoryNotFoundError",
        "private, stranger": "RepositoryNotFoundError",
        "private, member": "none",
        "missing": "RepositoryNotFoundError",
        "missing, snapshot": "RepositoryNotFoundError",
        "disabled": "DisabledRepoError",
        "no such file": "RemoteEntryNotFoundError",
        "no such revision": "RevisionNotFoundError",
        "no such revision, snapshot": "RevisionNotFoundError",
        "bad token": "HfHubHTTPError",
        "whoami": "somebody",
    }


def test_the_command_says_that_a_repository_is_gated(hub: HubStandIn, tmp_path: Path) -> None:
    hub.add_repo(Repo("org/gated", SMALL, gated="manual"))
    result = hf(hub, tmp_path, "download", "org/gated")
    assert result.returncode == 1
    assert "Model 'org/gated' requires approval" in result.stderr


def test_the_api_lists_in_pages(tmp_path: Path) -> None:
    many = {f"part-{number:02}.txt": b"x" for number in range(5)}
    repo = Repo(NAME, {**many, "deep/er/a.gguf": b"GGUF"}, former_names=["org/old"], info={"tags": ["gguf"]})
    repo.tag("v1")
    others = [Repo("org/modelling", {}), Repo("else/model", {}), Repo("org/hidden", {}, private=True)]
    code = """
    api = HfApi()
    info = api.model_info("org/model", files_metadata=True)
    large = next(file for file in info.siblings if file.rfilename.endswith(".gguf"))
    tree = list(api.list_repo_tree("org/model", recursive=True))
    print(json.dumps({
        "info": [info.id, info.sha, info.gated, info.tags, len(info.siblings)],
        "large": [large.size, large.lfs.sha256, large.lfs.size],
        "tree": sorted(entry.path for entry in tree),
        "top": sorted(entry.path for entry in api.list_repo_tree("org/model")),
        "inside": [entry.path for entry in api.list_repo_tree("org/model", "deep/er")],
        "outside": error(lambda: list(api.list_repo_tree("org/model", "nowhere"))),
        "paths": [entry.path for entry in api.get_paths_info("org/model", ["part-01.txt", "deep", "no"])],
        "search": [model.id for model in api.list_models(search="model")],
        "author": [model.id for model in api.list_models(author="org", limit=1)],
        "tags": [tag.target_commit for tag in api.list_repo_refs("org/model").tags],
        "commits": [commit.commit_id for commit in api.list_repo_commits("org/model")],
        "exists": [api.file_exists("org/model", name) for name in ("part-01.txt", "no")],
        "renamed": api.model_info("org/old").id,
        "expanded": api.model_info("org/model", expand=["gated"]).siblings,
    }))
    """
    with HubStandIn([repo, *others], page_size=2) as hub:
        found = python(hub, tmp_path, code)
        pages = [request.query for request in hub.requests if "/tree/main" in request.path]
    assert found == {
        "info": [NAME, repo.head, False, ["gguf"], 6],
        "large": [4, hashlib.sha256(b"GGUF").hexdigest(), 4],
        "tree": sorted([*many, "deep", "deep/er", "deep/er/a.gguf"]),
        "top": sorted([*many, "deep"]),
        "inside": ["deep/er/a.gguf"],
        "outside": "RemoteEntryNotFoundError",
        "paths": ["deep", "part-01.txt"],
        "search": [NAME, "org/modelling", "else/model"],
        "author": [NAME],
        "tags": [repo.head],
        "commits": [repo.head],
        "exists": [True, False],
        "renamed": NAME,
        "expanded": None,
    }
    assert sum("recursive=true" in query for query in pages) == 4  # eight entries, two by two


def test_a_dropped_download_goes_on_in_the_same_process(hub: HubStandIn, tmp_path: Path) -> None:
    hub.inject(Fault.drop("*.gguf", after_bytes=11_000_000))
    result = hf(hub, tmp_path, "download", NAME, "model-Q4_K_M.gguf", "--quiet")
    assert Path(result.stdout.strip()).read_bytes() == LARGE
    dropped, rest = [request for request in hub.requests if request.port == "cdn"]
    assert (dropped.fault, dropped.status, dropped.body_bytes_sent) == ("drop", 200, 11_000_000)
    assert rest.status == 206
    assert rest.range is not None
    assert rest.range[0] + rest.body_bytes_sent == len(LARGE)


def test_a_killed_download_shows_in_the_log_what_was_sent(hub: HubStandIn, tmp_path: Path) -> None:
    hub.bytes_per_second = 2_000_000
    command = hf_command("download", NAME, "model-Q4_K_M.gguf")
    with subprocess.Popen(
        command, env=hub.environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        wait_until(lambda: hub.bytes_sent("*.gguf") > 500_000)
        child.kill()
    wait_until(lambda: all(request.finished for request in hub.requests))
    assert 500_000 < hub.bytes_sent("*.gguf") < len(LARGE)


def test_a_hub_that_is_gone_and_comes_back(hub: HubStandIn, repo: Repo, tmp_path: Path) -> None:
    assert hf(hub, tmp_path, "download", NAME, "config.json").returncode == 0
    hub.stop()
    hub.clear_log()
    code = """
    there = error(hf_hub_download, "org/model", "config.json")
    print(json.dumps([there, error(HfApi().model_info, "org/model")]))
    """
    assert python(hub, tmp_path, code) == ["none", "ConnectError"]
    assert hub.requests == []
    hub.start()
    repo.commit({"config.json": b"new"})
    result = hf(hub, tmp_path, "download", NAME, "config.json", "--quiet")
    assert Path(result.stdout.strip()).read_bytes() == b"new"


def test_small_files_can_come_the_long_way(hub: HubStandIn, tmp_path: Path) -> None:
    hub.resolve_cache = hub.compresses_text = True
    result = hf(hub, tmp_path, "download", NAME, "config.json", "--quiet")
    assert Path(result.stdout.strip()).read_bytes() == SMALL["config.json"]
    assert any(request.path.startswith("/api/resolve-cache/") for request in hub.requests)


def test_hostile_names_and_hashes_are_listed(hub: HubStandIn, tmp_path: Path) -> None:
    names = ["../../../outside", "C:\\outside", "/etc/outside", "a/../../outside", "white space\x1b[2J"]
    lie = ExtraEntry("config.json", size=3, sha256="0" * 64, is_lfs=True)
    hub.add_repo(Repo("org/hostile", SMALL, extra_entries=[*names, lie]))
    code = """
    api = HfApi()
    tree = list(api.list_repo_tree("org/hostile", recursive=True))
    config = next(entry for entry in tree if entry.path == "config.json")
    print(json.dumps({
        "tree": sorted(entry.path for entry in tree),
        "siblings": sorted(file.rfilename for file in api.model_info("org/hostile").siblings),
        "lie": [config.size, config.lfs.sha256],
        "download": error(snapshot_download, "org/hostile", allow_patterns="*outside"),
    }))
    """
    found = python(hub, tmp_path, code)
    assert found["siblings"] == sorted([*SMALL, *names])
    assert found["tree"] == sorted([*SMALL, *names, "sub"])
    assert found["lie"] == [3, "0" * 64]
    assert found["download"] == "ValueError"
    assert not list(tmp_path.rglob("outside"))


def test_the_environment_of_a_child_holds_nothing_of_the_user(
    hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "of the user")
    environment = hub.environment(tmp_path)
    assert "of the user" not in environment.values()
    assert environment["HF_ENDPOINT"] == hub.endpoint
    assert hub.environment(tmp_path, token="hf_known")["HF_TOKEN"] == "hf_known"
