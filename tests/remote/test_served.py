"""A chat with localllm's own server, both as processes."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.process import COMMAND, environment, localllm

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        importlib.util.find_spec("uvicorn") is None, reason="needs what `localllm serve` needs"
    ),
]


@pytest.fixture
def base() -> Iterator[str]:
    """Serve the demo model at a free port and return the address of its API."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "demo", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if match := re.search(r"http://127\.0\.0\.1:\d+/v1", line):
                yield match[0]
                break
        else:
            raise AssertionError("the server did not start")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_served_model_says_what_it_says_without_a_server(base: str) -> None:
    options = ["--temperature", "0", "--max-tokens", "24", "--no-save", "--json", "What is GGUF?"]
    served = localllm("chat", "--api-base", base, *options)
    assert served.returncode == 0, served.stderr
    here = localllm("chat", "demo", *options)
    answers = [json.loads(each.stdout)["data"] for each in (served, here)]
    for key in ("text", "finish_reason", "prompt_tokens", "completion_tokens"):
        assert answers[0][key] == answers[1][key], key
