"""Servers for the tests: `localllm serve` as a process, on the demo model, each kind started once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from localllm.conversion.convert import convert
from localllm.pipeline import quantize_model
from localllm.quantization.levels import parse_levels
from localllm.store import shipped_checkpoint
from tests.cli.process import COMMAND, environment

TOOLS_TEMPLATE = (
    "{% if tools %}<|im_start|>system\nCall tools so: <tool_call>{{ tools | tojson }}</tool_call><|im_end|>\n"
    "{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass
class Server:
    """A running server: `url` ends with /v1, `log` is its standard error."""

    url: str
    process: subprocess.Popen[str]
    log: Path
    said: dict[str, Any]
    clients: dict[str, OpenAI] = field(default_factory=dict)

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    def client(self, **options: Any) -> OpenAI:
        """Return the stock client, which takes long to make; it does not try again."""
        key = repr(options)
        if key not in self.clients:
            wish = {"api_key": "none", "max_retries": 0, "timeout": 60, **options}
            self.clients[key] = OpenAI(base_url=self.url, **wish)
        return self.clients[key]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        self.process.send_signal(how)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serving(directory: Path, *arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Run `localllm serve ARGUMENTS` on a free port until the body ends."""
    log = directory / f"serve-{os.urandom(4).hex()}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--json", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment(env),
        )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        assert lines, log.read_text()
        said = json.loads("".join(lines))
        assert "data" in said, said
        server = Server(said["data"]["url"], process, log, said)
        with contextlib.closing(server):
            yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def demo_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model at Q8_0."""
    directory = tmp_path_factory.mktemp("served")
    checkpoint = shipped_checkpoint("demo")
    assert checkpoint is not None
    source = convert(checkpoint, output=directory / "demo-BF16.gguf").path
    (level,) = parse_levels(["Q8_0"])
    quantize_model(source, [(level, directory / "demo-Q8_0.gguf")])
    source.unlink()
    return directory / "demo-Q8_0.gguf"


@pytest.fixture(scope="session")
def server(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the demo model."""
    with serving(tmp_path_factory.mktemp("log"), demo_gguf, "--parallel", "4") as started:
        yield started


@pytest.fixture(scope="session")
def tools_server(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the demo model with a template that knows tools, as Hermes' models write calls."""
    directory = tmp_path_factory.mktemp("tools")
    (directory / "tools.jinja").write_text(TOOLS_TEMPLATE)
    with serving(directory, demo_gguf, "--template", directory / "tools.jinja") as started:
        yield started
