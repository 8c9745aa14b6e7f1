"""`localllm push` against the stand-in hub: what it sends, what it does not send again, and what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from localllm.comparison.measurement import ComparisonResult
from localllm.errors import LocalLLMError
from localllm.events import Advanced, Event, Finished, Started
from localllm.report.card import BEGIN, IMAGE
from localllm.verbs import card as card_verb
from localllm.verbs import push as push_verb
from localllm.verbs.push import plan_push
from localllm.verbs.push import push as push_model
from tests.cli.process import COMMAND, localllm
from tests.cli.test_card_command import result_in
from tests.hub.pulling import home_of, noise, sha256
from tests.hub.stand_in import Fault, HubStandIn, Repo

TOKEN, READER = "hf_mine", "hf_reader"
REPO = "org/mine-GGUF"
MIB = 1024 * 1024


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with HubStandIn([], users={TOKEN: "me", READER: "reader"}) as hub:
        yield hub


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Return the files of a model in the library, by level, and its importance matrix."""
    folder = tmp_path / "localllm" / "models" / "mine"
    folder.mkdir(parents=True)
    names = ("Q4_K_M", "Q8_0", "BF16", "imatrix")
    sizes = {"Q4_K_M": 300_000, "Q8_0": 4 * MIB, "BF16": 100, "imatrix": 50_000}
    return {
        level: noise(folder / f"mine-{level}.gguf", sizes[level], seed) for seed, level in enumerate(names)
    }


def push(
    hub: HubStandIn, home: Path, *arguments: str, token: str | None = TOKEN
) -> subprocess.CompletedProcess[str]:
    env = home_of(hub, home)
    return localllm("push", *arguments, env={**env, **({"HF_TOKEN": token} if token else {})})


def files_at(hub: HubStandIn, repo: str = REPO, revision: str = "main") -> dict[str, str]:
    """Return the files of a repository with their hashes."""
    commit = hub.repos[repo].resolve(revision)
    assert commit is not None
    return {path: blob.sha256 for path, blob in commit.files.items() if path != ".gitattributes"}


def sent(hub: HubStandIn) -> list[str]:
    """Return which objects, or parts of them, were put to the storage."""
    return [request.path for request in hub.requests if request.method == "PUT"]


def test_levels_and_matrix_in_one_commit_and_never_twice(
    hub: HubStandIn, models: dict[str, Path], tmp_path: Path
) -> None:
    plan = push(hub, tmp_path, "mine", REPO, "--private", "--dry-run", token=None)
    assert plan.returncode == 0, plan.stderr
    assert f"{REPO} (new, private), main: 4.33 MiB to send" in plan.stderr
    assert "mine-Q8_0.gguf" in plan.stdout
    assert not hub.repos

    done = push(hub, tmp_path, "mine", REPO, "--private", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["data"]
    expected = {models[level].name: sha256(models[level]) for level in ("Q4_K_M", "Q8_0", "imatrix")}
    assert files_at(hub) == expected
    assert hub.repos[REPO].private
    assert data["url"] == f"{hub.endpoint}/{REPO}"
    assert data["commit"] == hub.repos[REPO].head
    assert len(hub.repos[REPO].history(hub.repos[REPO].resolve("main"))) == 2  # type: ignore[arg-type]
    assert len(sent(hub)) == 1 + 5 + 1  # in one piece, in parts, in one piece
    assert "BF16 stays here" in done.stderr

    hub.clear_log()
    again = push(hub, tmp_path, "mine", REPO)
    assert again.returncode == 0
    assert "everything was there" in again.stderr
    assert not sent(hub)
    assert hub.repos[REPO].head == data["commit"]

    noise(models["Q4_K_M"], 300_000, seed=99)
    push(hub, tmp_path, "mine", REPO, "--levels", "q4_k_m,bf16")
    assert len(sent(hub)) == 2
    assert files_at(hub)[models["BF16"].name] == sha256(models["BF16"])
    assert files_at(hub)[models["Q4_K_M"].name] == sha256(models["Q4_K_M"])
    assert len(files_at(hub)) == 4


@pytest.fixture
def in_process(hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process take the stand-in for the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("LOCALLLM_HOME", str(tmp_path / "localllm"))


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # how huggingface_hub sends files
@pytest.mark.usefixtures("in_process")
def test_progress_is_told_byte_by_byte(models: dict[str, Path]) -> None:
    events: list[Event] = []
    result = push_model("mine:Q8_0", REPO, emit=events.append)
    assert result.sent_bytes == 4 * MIB + 50_000
    step = "upload mine-Q8_0.gguf"
    assert Started(step, 4 * MIB, "bytes") in events
    done = [event.done for event in events if isinstance(event, Advanced) and event.step == step]
    assert done == sorted(done)
    assert len(done) > 5
    assert done[-1] == 4 * MIB
    assert Finished(step) in events
    assert any(isinstance(event, Started) and event.step == "hash mine-Q8_0.gguf" for event in events)


def test_transfers_through_xet_report_here() -> None:
    from huggingface_hub.utils import _xet_progress_reporting as reporting

    from localllm.hub.upload import _xet_reports_to

    drawing, seen = reporting.XetUploadProgressReporter, []
    with _xet_reports_to(seen.append):
        reporter = reporting.XetUploadProgressReporter()
        reporter.update_progress(SimpleNamespace(total_bytes_completed=5), {})
        reporter.close()
    assert seen == [5]
    assert reporting.XetUploadProgressReporter is drawing


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_upload_goes_on(
    hub: HubStandIn, models: dict[str, Path], tmp_path: Path, how: signal.Signals
) -> None:
    hub.upload_bytes_per_second = 2_000_000
    env = {**home_of(hub, tmp_path), "HF_TOKEN": TOKEN}
    process = subprocess.Popen(
        [*COMMAND, "push", "mine", REPO], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    first = sha256(models["Q4_K_M"])
    while not (first in hub.uploads.objects and len(sent(hub)) > 1):  # the second file is under way
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert "Traceback" not in errors
    assert files_at(hub) == {}  # nobody sees half of it
    hub.clear_log()
    hub.upload_bytes_per_second = None
    done = push(hub, tmp_path, "mine", REPO)
    assert done.returncode == 0, done.stderr
    assert not any(first in path for path in sent(hub))
    assert len(files_at(hub)) == 3


def test_a_branch_is_made_and_a_failing_storage_asked_again(
    hub: HubStandIn, models: dict[str, Path], tmp_path: Path
) -> None:
    hub.add_repo(Repo(REPO, {"README.md": "# Mine\n"}))
    hub.inject(Fault.server_error("/upload/*", 503).limited(method="PUT"))
    done = push(hub, tmp_path, str(models["Q4_K_M"]), REPO, "--revision", "next", "--private")
    assert done.returncode == 0, done.stderr
    assert "`--private` changes nothing" in done.stderr
    assert "HTTP Error" not in done.stderr
    assert not hub.pending_faults
    assert set(files_at(hub, revision="next")) == {"README.md", "mine-Q4_K_M.gguf", "mine-imatrix.gguf"}
    assert set(files_at(hub)) == {"README.md"}


def test_without_token_or_hub_it_is_one_line(
    hub: HubStandIn, models: dict[str, Path], tmp_path: Path
) -> None:
    without = push(hub, tmp_path, "mine", REPO, token=None)
    assert without.returncode == 1
    assert without.stderr.startswith("error: sending files to the hub needs a token that may write\nhint: ")
    hub.stop()
    offline = push(hub, tmp_path, "mine", REPO)
    assert offline.returncode == 1
    assert "cannot reach" in offline.stderr
    assert "Traceback" not in without.stderr + offline.stderr
    assert TOKEN not in offline.stderr


@pytest.mark.usefixtures("in_process")
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize(
    ("token", "repo", "message"),
    [
        (READER, REPO, f"does not let you write to {REPO}"),
        ("hf_wrong", REPO, "does not accept the token"),
        (TOKEN, "other/repo", "does not let you write to other/repo"),
        (TOKEN, REPO, "refuses: Too many files"),
    ],
)
def test_refusals_of_the_hub_are_one_line(
    hub: HubStandIn,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    repo: str,
    message: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.inject(Fault.answer("/api/models/*/commit/*", 400, b"{}", {"X-Error-Message": "Too many files"}))
    with pytest.raises(LocalLLMError, match=message) as caught:
        push_model("mine:Q4_K_M", repo)
    assert "\n" not in caught.value.message
    assert token not in caught.value.message


@pytest.mark.parametrize(
    ("model", "repo", "message"),
    [
        ("mine", "no-slash", "does not name a repository"),
        ("mine", "org/repo:Q4_K_M", "does not name a repository"),
        ("mine:Q2_K", REPO, "is not here at Q2_K"),
        ("nobody", REPO, "there are no GGUF files"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_hub_is_asked(
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    repo: str,
    message: str,
) -> None:
    monkeypatch.setenv("LOCALLLM_HOME", str(tmp_path / "localllm"))
    with pytest.raises(LocalLLMError, match=message):
        plan_push(model, repo)


@pytest.mark.usefixtures("in_process")
def test_the_card_keeps_the_words_of_the_repository(
    hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made"
    compared: ComparisonResult = result_in(folder)
    (folder / "README.md").write_text("# Not this one\n")
    hub.add_repo(Repo(REPO, {"README.md": "# Ours\n\nWords that stay.\n"}))
    monkeypatch.setattr(card_verb, "last", lambda _: compared)
    with push_verb._prepared(folder, REPO, [], None, False, lambda _: None) as (plan, _, local):
        names = {file.name: file.is_there for file in plan.files}
        (text,) = (file.path.read_text(encoding="utf-8") for file in local if file.name == "README.md")
    assert {name for name, is_there in names.items() if not is_there} >= {"README.md", IMAGE}
    assert len(names) == 4
    assert "Words that stay." in text
    assert BEGIN in text
    assert (folder / "README.md").read_text() == "# Not this one\n"


def test_the_stock_client_takes_the_stand_in_for_the_hub(hub: HubStandIn, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    large = noise(folder / "model-Q8_0.gguf", 5 * MIB)
    (folder / "notes.txt").write_text("grüß dich\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Stock\n")
    hf = Path(sys.executable).with_name("hf")
    run = [str(hf), "upload", "me/stock", str(folder), ".", "--quiet"]
    env = hub.environment(tmp_path, token=TOKEN)
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert files_at(hub, "me/stock") == {
        path.name: sha256(path) for path in (large, folder / "notes.txt", folder / "README.md")
    }
    assert len(sent(hub)) == 6
    hub.clear_log()
    again = subprocess.run(run, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert not sent(hub)
