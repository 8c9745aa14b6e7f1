"""`localllm pull` as a process: what it chooses, where it puts it, what it says, and when it asks nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localllm.gguf_file import read_header
from tests.cli.process import localllm
from tests.dequantization.tiny_quantized import CASES, write_tiny_quantized
from tests.hub.pulling import DEMO, FILE, GGUF, MIB, PATTERN, cached, home_of, leftovers, noise, pull, sha256
from tests.hub.repos import Blob
from tests.hub.stand_in import HubStandIn, Repo
from tests.tiny_gguf import build_tiny_gguf

DOWNLOAD = "from huggingface_hub import hf_hub_download as d; print(d({!r}, {!r}))"
LEVELS = ("Q2_K", "Q4_K_M", "Q8_0")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    demo = {path.name: path for path in DEMO.iterdir() if path.is_file()}
    files = {
        f"tiny-{level}.gguf": noise(tmp_path / level, MIB + 1, index) for index, level in enumerate(LEVELS)
    }
    repos = [
        Repo(GGUF, {**files, "README.md": b"a card", "mmproj-F16.gguf": b"p" * 99, "x.imatrix.gguf": b"i"}),
        Repo("org/demo", {**demo, "pytorch_model.bin": b"pickle", "model.onnx": b"other"}),
        Repo("org/Private", {FILE: b"x"}, private=True, tokens={"hf_good"}),
        Repo("org/gated", {FILE: b"x" * 99}, gated=True, tokens={"hf_good"}),
    ]
    with HubStandIn(repos, users={"hf_good": "me", "hf_other": "you"}) as stand_in:
        yield stand_in


def python(env: dict[str, str], script: str) -> str:
    """Run a script of another program that shares the cache; return what it prints."""
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def env(hub: HubStandIn, tmp_path: Path) -> dict[str, str]:
    return home_of(hub, tmp_path)


def test_one_quantization_is_chosen_and_said(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    done = pull(env, GGUF)
    assert done.returncode == 0, done.stderr
    place = Path(done.stdout.strip())
    assert place.name == FILE
    assert sha256(place) == sha256(tmp_path / "Q4_K_M")
    assert "taking Q4_K_M, the usual choice; it also has Q2_K, Q8_0" in done.stderr
    assert {path.suffix for path in cached(tmp_path, "*")} >= {".gguf"}
    assert [path.name for path in cached(tmp_path, "*.gguf")] == [FILE]
    assert leftovers(tmp_path) == []


def test_the_standard_cache_is_shared_with_other_programs(
    hub: HubStandIn, env: dict[str, str], tmp_path: Path
) -> None:
    assert pull(env, f"{GGUF}:q8_0").returncode == 0
    hub.clear_log()
    theirs = python(env, DOWNLOAD.format(GGUF, "tiny-Q8_0.gguf"))
    assert Path(theirs).resolve() == cached(tmp_path, "tiny-Q8_0.gguf")[0].resolve()
    assert hub.bytes_sent("*.gguf") == 0
    scan = "from huggingface_hub import scan_cache_dir as s; r = s(); print(r.warnings, len(r.repos))"
    assert python(env, scan) == "[] 1"


def test_what_another_program_downloaded_is_used(hub: HubStandIn, env: dict[str, str]) -> None:
    script = f"from huggingface_hub import hf_hub_download as d; print(d('{GGUF}', '{FILE}'))"
    theirs = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    hub.clear_log()
    assert pull(env, f"{GGUF}:Q4_K_M").stdout.strip() == theirs.stdout.strip()
    assert hub.requests == []


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (f"{GGUF}:q2_k", "tiny-Q2_K.gguf"),
        (f"{GGUF}/tiny-Q8_0.gguf", "tiny-Q8_0.gguf"),
        (f"hf.co/{GGUF}:Q8_0", "tiny-Q8_0.gguf"),
        (f"hf:{GGUF}@main:Q8_0", "tiny-Q8_0.gguf"),
        (f"https://huggingface.co/{GGUF}/blob/main/tiny-Q2_K.gguf", "tiny-Q2_K.gguf"),
        (f"{GGUF}/mmproj-F16.gguf", "mmproj-F16.gguf"),
    ],
)
def test_spellings(env: dict[str, str], reference: str, name: str) -> None:
    done = pull(env, reference)
    assert Path(done.stdout.strip()).name == name, done.stderr


def test_nothing_is_asked_when_everything_is_here(hub: HubStandIn, env: dict[str, str]) -> None:
    first = pull(env, GGUF)
    hub.clear_log()
    for reference in (GGUF, f"{GGUF}:Q4_K_M", f"{GGUF}/{FILE}", f"{GGUF}@main"):
        again = pull(env, reference)
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert "everything was here" in again.stderr
    assert localllm("inspect", f"{GGUF}:Q4_K_M", env=env).returncode == 1  # noise, but found and read
    assert hub.requests == []
    assert pull(env, GGUF, "--refresh").returncode == 0
    assert len(hub.requests) == 2
    assert hub.bytes_sent(PATTERN) == 0


def test_what_is_here_works_without_the_hub(hub: HubStandIn, env: dict[str, str]) -> None:
    assert pull(env, "org/demo").returncode == 0
    hub.stop()
    assert pull(env, "org/demo").returncode == 0
    answer = localllm("chat", "org/demo", "Hello", "--max-tokens", "3", "--seed", "1", env=env)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()
    elsewhere = pull(env, GGUF)
    assert elsewhere.returncode == 1
    assert "cannot reach 127.0.0.1" in elsewhere.stderr
    assert "localllm list" in elsewhere.stderr
    hub.start()


def test_offline_on_purpose(hub: HubStandIn, env: dict[str, str]) -> None:
    done = pull({**env, "HF_HUB_OFFLINE": "1"}, GGUF)
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert hub.requests == []
    assert pull(env, GGUF).returncode == 0
    assert pull({**env, "HF_HUB_OFFLINE": "1"}, GGUF).returncode == 0


def test_a_checkpoint_comes_without_what_conversion_does_not_need(
    hub: HubStandIn, env: dict[str, str], tmp_path: Path
) -> None:
    done = pull(env, "org/demo")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in Path(done.stdout.strip()).iterdir()}
    assert names >= {"config.json", "tokenizer.json", "model.safetensors", "README.md"}
    assert not names & {"pytorch_model.bin", "model.onnx", "heldout.jsonl"}
    asked = [request.path.rpartition("/")[2] for request in hub.requests]
    assert asked.index("config.json") < asked.index("model.safetensors")


def test_a_new_commit_is_taken_on_refresh_only(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    repo = hub.repos[GGUF]
    first, old = pull(env, GGUF).stdout, repo.head
    repo.commit({FILE: noise(tmp_path / "new", MIB, 9)})
    assert pull(env, GGUF).stdout == first
    renewed = pull(env, GGUF, "--refresh").stdout
    assert renewed != first
    assert sha256(Path(renewed.strip())) == sha256(tmp_path / "new")
    assert pull(env, f"{GGUF}@{old}").stdout == first


def test_the_plan_lists_and_downloads_nothing(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    done = pull(env, f"{GGUF}:Q8_0", "--dry-run", "--json")
    (plan,) = json.loads(done.stdout)["data"]
    assert plan["files"] == [{"path": "tiny-Q8_0.gguf", "size_bytes": MIB + 1, "is_here": False}]
    assert (plan["download_bytes"], plan["others"]) == (MIB + 1, ["Q2_K", "Q4_K_M"])
    assert cached(tmp_path, "*.gguf") == []
    assert hub.bytes_sent("*.gguf") == 0


def test_the_result_as_json(env: dict[str, str]) -> None:
    (result,) = json.loads(pull(env, GGUF, "--json", "--projector").stdout)["data"]
    assert result["reference"] == f"{GGUF}:Q4_K_M"
    assert [file["path"] for file in result["files"]] == [FILE, "mmproj-F16.gguf"]
    assert result["downloaded_bytes"] == result["size_bytes"] == MIB + 1 + 99


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("org/tiny-GUFF", "no repository `org/tiny-GUFF`", "did you mean `org/tiny-GGUF`?"),
        (f"{GGUF}:Q4_K_S", "nothing at Q4_K_S", "did you mean Q4_K_M? it has Q2_K, Q4_K_M, Q8_0"),
        (f"{GGUF}/tiny-Q8.gguf", "no file `tiny-Q8.gguf`", "did you mean `tiny-Q8_0.gguf`?"),
        (f"{GGUF}@mian", "no branch, tag or commit `mian`", "did you mean `main`?"),
        ("org/Private", "no repository `org/Private` on the hub, or it is private", "hf auth login"),
        ("org/gated", "org/gated is gated", "sign in with `hf auth login`"),
        ("demo", "`demo` does not name a repository", "org/repo"),
    ],
)
def test_what_is_not_to_be_had(env: dict[str, str], reference: str, message: str, hint: str) -> None:
    done = pull(env, reference)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_opens_what_it_may(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    signed_in = {**env, "HF_TOKEN": "hf_good"}
    assert pull(signed_in, "org/Private").returncode == 0
    assert pull(signed_in, "org/gated").returncode == 0
    on_cdn = [request for request in hub.requests if request.port == "cdn"]
    assert on_cdn
    assert not any(request.has_authorization for request in on_cdn)
    assert any(request.has_authorization for request in hub.requests)
    nothing_here = {**env, "HF_HOME": str(tmp_path / "other")}
    other = pull({**nothing_here, "HF_TOKEN": "hf_other"}, "org/gated")
    assert "your account has not been let in" in other.stderr
    wrong = pull({**nothing_here, "HF_TOKEN": "hf_wrong"}, "org/demo")
    assert "does not accept the token" in wrong.stderr
    for done in (other, wrong):
        assert "hf_" not in done.stdout + done.stderr


def test_hostile_names_stay_in_their_folder(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    names = ["../../../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "C:\\evil.gguf", "..\\evil.gguf"]
    hub.add_repo(Repo("org/hostile", {FILE: b"x" * 100}, extra_entries=names))
    done = pull(env, "org/hostile")
    assert done.returncode == 0, done.stderr
    assert f"{len(names)} file names make no sense or lead out of it" in done.stderr
    assert not list(tmp_path.rglob("*evil*"))
    refused = pull(env, "org/hostile/../../../evil.gguf")
    assert refused.returncode != 0
    assert not list(tmp_path.rglob("*evil*"))


def test_a_planted_link_is_not_followed(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    repo = hub.repos[GGUF]
    folder = tmp_path / "huggingface" / "hub" / "models--org--tiny-GGUF" / "snapshots" / repo.head
    folder.mkdir(parents=True)
    (folder / FILE).symlink_to(victim)
    done = pull(env, f"{GGUF}:Q4_K_M", "--refresh")
    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "mine"
    assert sha256(folder / FILE) == sha256(tmp_path / "Q4_K_M")


def test_parts_of_a_split_model_come_together(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    parts = {f"Q6_K/big-Q6_K-{n:05d}-of-00003.gguf": noise(tmp_path / f"p{n}", MIB, n) for n in (1, 2, 3)}
    hub.add_repo(Repo("org/big-GGUF", parts))
    done = pull(env, "org/big-GGUF:q6_k")
    assert Path(done.stdout.strip()).name == "big-Q6_K-00001-of-00003.gguf"
    assert len(cached(tmp_path, "big-*.gguf")) == 3
    hub.add_repo(Repo("org/torn-GGUF", {name: path for name, path in parts.items() if "00002" not in name}))
    torn = pull(env, "org/torn-GGUF:q6_k")
    assert torn.returncode == 1
    assert "1 of the 3 files" in torn.stderr


def test_the_disk_is_looked_at_first(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 43)
    hub.add_repo(Repo("org/huge-GGUF", {FILE: Blob(huge, sha256="0" * 64)}))
    done = pull(env, "org/huge-GGUF")
    assert done.returncode == 1
    assert "8.00 TiB are to come, but only" in done.stderr
    assert "HF_HOME" in done.stderr
    assert hub.bytes_sent("*.gguf") == 0


def test_a_file_from_the_web_goes_into_the_library(
    hub: HubStandIn, env: dict[str, str], tmp_path: Path
) -> None:

    good = tmp_path / "good.gguf"
    build_tiny_gguf(good)
    hub.add_file("my-model-Q8_0.gguf", good)
    hub.add_file("noise-Q8_0.gguf", b"not a model" * 100)
    done = pull(env, hub.file_url("my-model-Q8_0.gguf"))
    assert done.returncode == 0, done.stderr
    place = tmp_path / "localllm" / "models" / "my-model" / "my-model-Q8_0.gguf"
    assert (Path(done.stdout.strip()), sha256(place)) == (place, sha256(good))
    assert "there is no checksum" in done.stderr
    assert localllm("inspect", "my-model:Q8_0", env=env).returncode == 0
    bad = pull(env, hub.file_url("noise-Q8_0.gguf"))
    assert bad.returncode == 1
    assert "it is not a GGUF file" in bad.stderr
    kept = {path.name for path in (tmp_path / "localllm").rglob("*") if path.is_file()}
    assert kept == {place.name, f".{place.stem}.made.json"}
    missing = pull(env, hub.file_url("nothing-Q8_0.gguf"))
    assert (missing.returncode, "has nothing at" in missing.stderr) == (1, True)


UNSUPPORTED = {
    "architecture": ({"architectures": ["Mystery9ForCausalLM"]}, "Mystery9ForCausalLM"),
    "method": ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "AWQ"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_cannot_be_converted_is_refused_before_its_weights(
    hub: HubStandIn, env: dict[str, str], case: str
) -> None:
    changes, named = UNSUPPORTED[case]
    config = json.loads((DEMO / "config.json").read_text()) | changes
    files = {path.name: path for path in DEMO.iterdir() if path.is_file()}
    hub.add_repo(Repo("org/odd", {**files, "config.json": json.dumps(config)}))
    done = pull(env, "org/odd")
    assert done.returncode == 1
    assert named in done.stderr
    assert "were not downloaded" in done.stderr
    assert hub.bytes_sent("*.safetensors") < 70_000
    assert pull(env, "org/odd", "--no-check").returncode == 0


@pytest.mark.parametrize("case", CASES)
def test_quantized_checkpoints_pass_the_look_at_their_headers(
    hub: HubStandIn, env: dict[str, str], tmp_path: Path, case: str
) -> None:
    """Of quantized weights much lies in tensors that are not here yet: that refuses none."""
    directory = write_tiny_quantized(tmp_path / "source", case)
    hub.add_repo(Repo("org/quantized", {path.name: path for path in directory.iterdir()}))
    done = pull(env, "org/quantized")
    assert done.returncode == 0, done.stderr


def test_only_pickles(hub: HubStandIn, env: dict[str, str]) -> None:
    hub.add_repo(Repo("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"evil"}))
    done = pull(env, "org/pickled")
    assert done.returncode == 1
    assert "only pickled weights (pytorch_model.bin)" in done.stderr
    assert hub.bytes_sent("*.bin") == 0


def test_verbs_pull_what_they_need(hub: HubStandIn, env: dict[str, str], tmp_path: Path) -> None:
    done = localllm("quantize", "org/demo", "-q", "Q8_0", env=env)
    assert done.returncode == 0, done.stderr
    assert "org/demo is not on this machine; downloading it" in done.stderr
    place = tmp_path / "localllm" / "models" / "org--demo" / "org--demo-Q8_0.gguf"
    assert place.is_file()
    assert read_header(place).text("general.name") == "Demo"
