#!/usr/bin/env python3
"""Measure `localllm serve` beside llama.cpp's own server, in turns, as ratios.

    python scripts/bench_serve.py MODEL.gguf [--llama-server LLAMA_SERVER] [--clients 8] [--rounds 3]
                                  [--threads 2] [--seconds 60] [--long 2000] [--json FILE]

Both servers are processes of their own with as many slots as there are clients and as much room for each.
In each round every server is asked for the same, one after the other, in turned order in every other round:

    one          an answer to one client: tokens/s
    all          an answer each to all clients at once: tokens/s together
    cpu one/all  seconds of processor time per token, which other programs disturb less than tokens/s
    short        time to the first token of a short prompt, alone
    beside long  the same, asked while a prompt of --long tokens is being read

Then, with --seconds, clients come and go on localllm's server alone: some leave in mid-stream, some bring
long prompts. There must be no error, and the memory after that is what it was after a tenth of the time.

LLAMA_SERVER is best built from the sources the binding ships. Random weights will do. Say how busy the
machine was: threads that wait for each other suffer from others out of all proportion.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from localllm.gguf_file import read_header

ANSWER_TOKENS = 64
_CONTEXT = 4096
_TOKENS = range(100, 250)  # ordinary ones, or bytes, in every vocabulary
_START_SECONDS = 300


@dataclass
class Answer:
    """What a client got; `text_seconds` is the time to the first piece of text."""

    tokens: int = 0
    text_seconds: float = 0.0
    error: str = ""


class Server:
    """A server in a process of its own, reached with OpenAI's completions."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.port = int(command[command.index("--port") + 1])
        self._log = log.open("wb")
        self._process = psutil.Popen(command, stdout=self._log, stderr=self._log)
        self.model = self._wait()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()

    def complete(self, prompt: list[int], tokens: int, seed: int, *, leave_after: int = 0) -> Answer:
        """Ask for an answer as a stream; `leave_after` so many pieces hang up."""
        answer = Answer()
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": tokens,
            "seed": seed,
            "temperature": 0.8,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(
                "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            if response.status != 200:
                answer.error = f"{response.status} {response.read()[:200]!r}"
                return answer
            for number, event in enumerate(_events(response)):
                if not answer.text_seconds:
                    answer.text_seconds = time.perf_counter() - began
                if event.get("usage"):
                    answer.tokens = event["usage"]["completion_tokens"]
                if leave_after and number >= leave_after:
                    break
        except OSError as error:
            answer.error = repr(error)
        finally:
            connection.close()
        return answer

    def cpu_seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def memory_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self._family())

    def _family(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _wait(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/v1/models")
                response = connection.getresponse()
                if response.status == 200:
                    return str(json.loads(response.read())["data"][0]["id"])
            except (OSError, ValueError):
                pass
            time.sleep(0.3)
        raise SystemExit(f"{self.name} does not start: {Path(self._log.name).read_text()[-2000:]}")


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        if line.startswith(b"data: ") and b"[DONE]" not in line:
            yield json.loads(line[6:])


def prompt(count: int, seed: int) -> list[int]:
    """Return a prompt of `count` tokens."""
    return random.Random(seed).choices(_TOKENS, k=count)


def ask_all(server: Server, clients: int, seed: int) -> tuple[float, float]:
    """Return tokens per second and processor seconds per token of as many clients at once."""
    answers: list[Answer] = []
    threads = [
        threading.Thread(
            target=lambda each=each: answers.append(
                server.complete(prompt(12, seed + each), ANSWER_TOKENS, seed + each)
            )
        )
        for each in range(clients)
    ]
    cpu, began = server.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, tokens = time.perf_counter() - began, sum(answer.tokens for answer in answers)
    errors = [answer.error for answer in answers if answer.error]
    if errors or not tokens:
        raise SystemExit(f"{server.name}: {errors or 'no tokens'}")
    return tokens / seconds, (server.cpu_seconds() - cpu) / tokens


def short_prompts(server: Server, seed: int, long_tokens: int) -> tuple[float, float]:
    """Return the time to the first token of a short prompt alone, and while a long one is read."""

    def seconds(tokens: int, seed: int) -> float:
        answer = server.complete(prompt(tokens, seed), 1, 0)
        if answer.error:
            raise SystemExit(f"{server.name}: {answer.error}")
        return answer.text_seconds

    alone = statistics.median(seconds(24, seed + each) for each in range(5))
    reading = threading.Thread(target=seconds, args=(long_tokens, seed))
    beside: list[float] = []
    reading.start()
    time.sleep(alone)
    while reading.is_alive():
        beside.append(seconds(24, seed + 10 + len(beside)))
    if not beside:
        raise SystemExit(f"{server.name}: the long prompt was read too soon; choose a longer one with --long")
    if len(beside) > 1:
        beside.pop()  # the end of the long one came first; alone, it is all there is
    return alone, statistics.median(beside)


def one_round(servers: list[Server], arguments: argparse.Namespace, number: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for server in servers if number % 2 == 0 else servers[::-1]:
        seed = 1000 * number
        name = server.name
        found[f"{name} one"], found[f"{name} cpu one"] = ask_all(server, 1, seed)
        found[f"{name} all"], found[f"{name} cpu all"] = ask_all(server, arguments.clients, seed + 100)
        found[f"{name} short"], found[f"{name} beside long"] = short_prompts(
            server, seed + 200, arguments.long
        )
    return found


def crowd(server: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    """Have clients come and go for --seconds; return what they got."""
    began = time.monotonic()
    answers: list[Answer] = []

    def visit(seed: int) -> None:
        generator = random.Random(seed)
        while time.monotonic() - began < arguments.seconds:
            long = generator.random() < 0.15
            leave = generator.randrange(1, 20) if generator.random() < 0.3 else 0
            length = arguments.long if long else generator.randrange(3, 40)
            asked = prompt(length, generator.randrange(10**6))
            answers.append(server.complete(asked, generator.randrange(1, 64), seed, leave_after=leave))

    threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(arguments.clients)]
    for thread in threads:
        thread.start()
    time.sleep(arguments.seconds / 10)
    before = server.memory_bytes()
    for thread in threads:
        thread.join()
    return {
        "requests": len(answers),
        "errors": [answer.error for answer in answers if answer.error],
        "memory_bytes_early": before,
        "memory_bytes_late": server.memory_bytes(),
        "memory_ratio": server.memory_bytes() / before,
    }


@contextmanager
def running(arguments: argparse.Namespace, directory: Path) -> Iterator[list[Server]]:
    clients, context = arguments.clients, max(_CONTEXT, 2 * arguments.long)
    model, threads = str(arguments.model), str(arguments.threads)
    own = [sys.executable, "-m", "localllm", "serve", model, "--parallel", str(clients)]
    own += ["--context", str(context), "--threads", threads, "--quiet", "--port", _free_port()]
    commands = {"localllm": own}
    if arguments.llama_server:
        other = [str(arguments.llama_server), "-m", model, "--parallel", str(clients), "-t", threads]
        other += ["-c", str(context * clients), "--port", _free_port()]
        # it gives nobody more than the model was trained for, whatever -c says
        key = f"{read_header(arguments.model).architecture}.context_length"
        other += ["--override-kv", f"{key}=int:{context}"]
        commands["llama-server"] = other
    servers: list[Server] = []
    try:
        for name, command in commands.items():
            servers.append(Server(name, command, directory / f"{name}.log"))
        yield servers
    finally:
        for server in servers:
            server.close()


def _free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def report(rounds: list[dict[str, float]], has_other: bool) -> dict[str, float]:
    """Print and return the medians of the ratios within a round."""
    pairs = {
        "all clients / one client": ("localllm all", "localllm one"),
        "cpu per token, one client / all clients": ("localllm cpu one", "localllm cpu all"),
        "short prompt beside a long one / alone": ("localllm beside long", "localllm short"),
    }
    if has_other:
        pairs |= {
            "all clients, localllm / llama-server": ("localllm all", "llama-server all"),
            "cpu per token of all clients, llama-server / localllm": (
                "llama-server cpu all",
                "localllm cpu all",
            ),
            "short prompt beside a long one, llama-server / localllm": (
                "llama-server beside long",
                "localllm beside long",
            ),
        }
    ratios = {}
    for name, (over, under) in pairs.items():
        values = [found[over] / found[under] for found in rounds]
        ratios[name] = statistics.median(values)
        print(f"{name}: {ratios[name]:.2f} ({min(values):.2f} to {max(values):.2f})")
    return ratios


def main() -> None:
    """Run the rounds and the crowd."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as directory, running(arguments, Path(directory)) as servers:
        for server in servers:
            ask_all(server, 1, 0)  # warms up
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(servers, arguments, number))
            print(
                f"{number + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in rounds[-1].items()),
                flush=True,
            )
        ratios = report(rounds, len(servers) > 1) if rounds else {}
        visited = crowd(servers[0], arguments) if arguments.seconds else {}
        for name, value in visited.items():
            print(f"{name}: {value}")
    print(f"load of the machine: {psutil.getloadavg()}, processors: {psutil.cpu_count()}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"rounds": rounds, "ratios": ratios, "crowd": visited}, indent=1)
        )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's llama-server")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60, help="0 leaves the crowd out")
    parser.add_argument("--long", type=int, default=2000, help="tokens of a long prompt, about")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
