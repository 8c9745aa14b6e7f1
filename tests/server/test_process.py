"""`localllm serve` as a process: starting, clients that leave, a full queue, large bodies, the end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, AuthenticationError, NotFoundError, OpenAI, RateLimitError

from localllm.cli.app import run
from tests.cli.process import environment
from tests.server.conftest import Server, serving
from tests.server.http import answered, connection, counter, exchange, request, wait_until

ENDLESS: dict[str, Any] = {  # an answer that goes on until the context is full
    "model": "demo-Q8_0",
    "messages": [{"role": "user", "content": "Hello"}],
    "logit_bias": {"72": 100},
}
SHORT = {**ENDLESS, "max_tokens": 2}


def test_the_models_are_named_as_their_files_and_as_the_user_did(server: Server, demo_gguf: Path) -> None:
    client = server.client()
    assert [model.id for model in client.models.list()] == [str(demo_gguf)]
    for name in (str(demo_gguf), "demo-Q8_0", "demo-Q8_0.gguf"):
        assert client.models.retrieve(name).id == str(demo_gguf)
    with pytest.raises(NotFoundError) as raised:
        client.chat.completions.create(model="gpt-4", messages=ENDLESS["messages"])
    assert raised.value.code == "model_not_found"
    assert "demo-Q8_0" in raised.value.message


def test_legacy_completions(server: Server) -> None:
    client = server.client()
    wish: dict[str, Any] = {"model": "demo-Q8_0", "temperature": 0}
    one = client.completions.create(prompt="GGUF is", max_tokens=6, **wish)
    assert one.choices[0].finish_reason == "length"
    assert client.completions.create(prompt="GGUF is", **wish).usage.completion_tokens <= 16  # type: ignore[union-attr]
    echoed = client.completions.create(prompt=["GGUF is", "LoRA is"], max_tokens=6, echo=True, n=2, **wish)
    assert [choice.text[:7] for choice in echoed.choices] == ["GGUF is"] * 2 + ["LoRA is"] * 2
    assert [choice.index for choice in echoed.choices] == [0, 1, 2, 3]
    assert echoed.choices[0].text == "GGUF is" + one.choices[0].text
    streamed = ["", ""]
    for chunk in client.completions.create(
        prompt=["GGUF is", "LoRA is"], max_tokens=6, stream=True, echo=True, **wish
    ):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [echoed.choices[0].text, echoed.choices[2].text]
    told = client.completions.create(prompt="GGUF is", max_tokens=6, logprobs=2, **wish).choices[0]
    assert told.logprobs is not None
    assert "".join(told.logprobs.tokens or ()) == told.text == one.choices[0].text
    assert told.logprobs.text_offset == [
        len("".join((told.logprobs.tokens or [])[:index])) for index in range(6)
    ]
    assert {len(top) for top in told.logprobs.top_logprobs or ()} == {2}


def test_the_best_of_several_is_the_likeliest(server: Server) -> None:
    client = server.client()
    wish: dict[str, Any] = {
        "model": "demo-Q8_0",
        "prompt": "The umbrella",
        "temperature": 2,
        "seed": 2,
        "max_tokens": 8,
        "extra_body": {"top_k": 0, "min_p": 0, "top_p": 1},
    }
    every = client.completions.create(n=4, logprobs=0, **wish).choices
    best = client.completions.create(best_of=4, logprobs=0, **wish).choices
    told = [choice.logprobs.token_logprobs for choice in every]  # type: ignore[union-attr]
    means = [sum(each) / len(each) for each in told]  # type: ignore[arg-type]
    assert len(set(means)) == 4
    assert [choice.text for choice in best] == [every[means.index(max(means))].text]


def test_token_prompts_are_their_texts(server: Server) -> None:
    client = server.client()
    letters = [ord(letter) - 30 for letter in "f"]  # bytes are the first tokens of this vocabulary
    told = client.completions.create(model="demo-Q8_0", prompt=letters, echo=True, max_tokens=1)
    assert told.choices[0].text.startswith("f")
    for wrong in ([10**6], [-1], []):
        with pytest.raises(APIStatusError) as raised:
            client.completions.create(model="demo-Q8_0", prompt=wrong)
        assert raised.value.status_code == 400


def test_embeddings(server: Server) -> None:
    client = server.client()
    texts = ["What is a LoRA adapter?", "Explain LoRA adapters.", "The weather in May"]
    floats = client.embeddings.create(model="demo-Q8_0", input=texts, encoding_format="float")
    packed = client.embeddings.create(model="demo-Q8_0", input=texts)  # the client asks for base64
    for one, other in zip(floats.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert sum(value * value for value in one.embedding) == pytest.approx(1, abs=1e-4)
    first, second, third = (entry.embedding for entry in floats.data)
    assert _dot(first, second) > _dot(first, third)
    assert floats.usage.prompt_tokens > 0
    assert client.embeddings.create(model="demo-Q8_0", input="x", dimensions=256).data
    for wish in ({"input": ""}, {"input": []}, {"input": "x", "dimensions": 10}, {"input": [[10**7]]}):
        with pytest.raises(APIStatusError) as raised:
            client.embeddings.create(model="demo-Q8_0", **wish)  # type: ignore[arg-type]
        assert raised.value.status_code == 400


def _dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def test_a_client_that_leaves_frees_its_slot(server: Server) -> None:
    for body in ({**ENDLESS, "stream": True}, ENDLESS):
        before = outcomes(server)
        with connection(server) as opened:
            opened.sendall(request(body))
            wait_until(lambda: counter(server, "localllm_busy_slots") == 1)
        wait_until(lambda: counter(server, "localllm_busy_slots") == 0)
        assert outcomes(server) == {**before, "cancelled": before["cancelled"] + 1}


def outcomes(server: Server) -> dict[str, float]:
    """Return how many requests ended how."""
    kinds = ("finished", "cancelled", "failed", "refused")
    return {kind: counter(server, "localllm_requests_total", labels=f'outcome="{kind}"') for kind in kinds}


def test_a_body_of_fifty_megabytes_is_refused(server: Server) -> None:
    status, body = exchange(server, request(b"x" * 50_000_000))
    assert status == 413
    assert json.loads(body)["error"]["code"] == "body_too_large"
    assert exchange(server, request(SHORT))[0] == 200


def test_what_is_no_http_is_refused(server: Server) -> None:
    long = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"
    for data in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /health HTTP/1.1\r\n\r\n", long):
        assert 400 <= exchange(server, data)[0] < 500
    smuggled = request(b"{}", Transfer_Encoding="chunked")
    with connection(server) as opened:
        opened.sendall(smuggled)
        assert answered(opened)[0] in (400, 413)
    assert exchange(server, request(SHORT))[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_answers_end(demo_gguf: Path, tmp_path: Path, how: signal.Signals, status: int) -> None:
    with serving(tmp_path, demo_gguf, "--grace", "20s") as ending, connection(ending) as opened:
        opened.sendall(request({**ENDLESS, "max_tokens": 400}))
        wait_until(lambda: counter(ending, "localllm_busy_slots") == 1)
        ending.process.send_signal(how)
        code, body = answered(opened)
        assert code == 200
        assert json.loads(body)["usage"]["completion_tokens"] == 400
        assert ending.process.wait(20) == status
        assert "Traceback" not in ending.log.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_second_signal_ends_the_grace(demo_gguf: Path, tmp_path: Path) -> None:
    wide = ("--context", "50000", "--parallel", "1", "--grace", "10m")
    with serving(tmp_path, demo_gguf, *wide) as ending, connection(ending) as opened:
        opened.sendall(request({**ENDLESS, "stream": True}))
        wait_until(lambda: counter(ending, "localllm_busy_slots") == 1)
        ending.process.send_signal(signal.SIGINT)
        wait_until(lambda: not _listens(ending))
        assert ending.process.poll() is None  # it goes on with its answer
        assert ending.stop(signal.SIGINT) == 130
        assert "Traceback" not in ending.log.read_text()


def _listens(server: Server) -> bool:
    try:
        with connection(server):
            return True
    except ConnectionRefusedError:
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_full_queue_says_when_to_come_again_and_grace_has_an_end(demo_gguf: Path, tmp_path: Path) -> None:
    one = ("--parallel", "1", "--queue", "0", "--context", "50000", "--grace", "0s")
    with serving(tmp_path, demo_gguf, *one) as small, connection(small) as opened:
        opened.sendall(request({**ENDLESS, "stream": True}))
        wait_until(lambda: counter(small, "localllm_busy_slots") == 1)
        with pytest.raises(RateLimitError) as raised:
            small.client().chat.completions.create(**SHORT)
        assert int(raised.value.response.headers["retry-after"]) >= 1
        assert raised.value.type == "rate_limit_error"
        assert small.stop() == 0
        said = b""
        while data := opened.recv(65536):
            said += data
        assert b'"code":"unavailable"' in said
        assert b"[DONE]" not in said
        assert "Traceback" not in small.log.read_text()


def test_several_models_are_loaded_when_asked_for_and_leave(demo_gguf: Path, tmp_path: Path) -> None:
    """Behind a key, which opens and is never logged."""
    other = tmp_path / "other-Q8_0.gguf"
    other.write_bytes(demo_gguf.read_bytes())
    key = "sk-very-secret"
    with serving(tmp_path, demo_gguf, other, "--keep-alive", "1s", env={"LOCALLLM_API_KEY": key}) as several:
        assert several.said["data"]["needs_key"]
        with pytest.raises(AuthenticationError):
            several.client().models.list()
        client = several.client(api_key=key)
        assert len(client.models.list().data) == 2
        assert counter(several, "localllm_model_loaded", key) == 0
        client.chat.completions.create(**{**SHORT, "model": "other-Q8_0"})
        assert counter(several, "localllm_model_loaded", key) == 1
        wait_until(lambda: counter(several, "localllm_model_loaded", key) == 0)
        assert counter(several, "localllm_completion_tokens_total", key) == SHORT["max_tokens"]
        with ThreadedAsks(client, 3) as asks:
            assert asks.failures == []
        log = several.log.read_text()
    assert key not in log
    assert "GET /v1/models 401" in log


class ThreadedAsks:
    """Several requests at the same time to a model that is not there yet."""

    def __init__(self, client: OpenAI, count: int) -> None:
        self.failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._ask, args=(client,)) for _ in range(count)]

    def _ask(self, client: OpenAI) -> None:
        try:
            client.chat.completions.create(**SHORT)
        except Exception as error:
            self.failures.append(error)

    def __enter__(self) -> ThreadedAsks:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "MODEL"),
        (("no-such-model",), 1, "no-such-model"),
        (("demo", "demo"), 2, "named twice"),
        (("demo", "--host", "0.0.0.0"), 2, "needs a key"),
        (("demo", "--port", "70000"), 2, "70000"),
        (("demo", "--keep-alive", "soon"), 2, "soon"),
        (("demo", "--context", "many"), 2, "many"),
        (("demo", "--allow-origin", "page"), 2, "no origin"),
        (("demo", "--api-key", "two words"), 2, "API key"),
    ],
)
def test_what_cannot_start(
    arguments: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments]) == status
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_a_port_in_use_is_one_line_with_a_hint(demo_gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", str(demo_gguf), "--port", str(taken.getsockname()[1])]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert "is in use" in error
    assert "--port" in hint


def test_without_the_extra_it_says_what_installs_it() -> None:
    code = """
import sys
for name in ("starlette", "uvicorn", "pydantic", "prometheus_client"):
    sys.modules[name] = None
from localllm.cli.app import run
sys.exit(run(["serve", "demo"]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.returncode == 1
    assert "pip install 'localllm[serve]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_imports_nothing_of_the_server() -> None:
    code = """
import sys
from localllm.cli.app import run
run(["--help"])
run(["serve", "--help"])
heavy = [name for name in ("starlette", "uvicorn", "pydantic", "prometheus_client", "numpy", "llama_cpp")
         if name in sys.modules]
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.returncode == 0, result.stderr
    assert "--allow-origin" in result.stdout
