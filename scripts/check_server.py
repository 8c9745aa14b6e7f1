#!/usr/bin/env python3
"""Ask `localllm serve` and llama-server the same things and print where the answers differ.

    python scripts/check_server.py --reference-bin /path/to/llama-server

Both serve the demo model at Q8_0 with a chat template that knows tools; embeddings are asked of a second
llama-server, which computes nothing else then. Compared are the status and, where that is the same, the
fields and their types, the finish reasons, the texts (all greedy), the counts of tokens, and probabilities
and vectors as numbers. Every difference must be one of LISTED, which says why; another one makes the script
fail, and so does an entry of LISTED that explains nothing any more.
"""

from __future__ import annotations

import argparse
import array
import base64
import contextlib
import json
import math
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localllm.conversion.convert import convert  # noqa: E402
from localllm.pipeline import quantize_model  # noqa: E402
from localllm.quantization.levels import parse_levels  # noqa: E402

TEMPLATE = (
    "{% if tools %}<|im_start|>system\nCall tools so: <tool_call>{{ tools | tojson }}</tool_call><|im_end|>\n"
    "{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message.tool_calls %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT = 1024
CHAT, TEXT, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
ASK = {
    "messages": [{"role": "user", "content": "What is inside a GGUF file?"}],
    "temperature": 0,
    "max_tokens": 20,
}
WRITE = {"prompt": "GGUF is", "temperature": 0, "max_tokens": 8}
SCHEMA = {"type": "object", "properties": {"good": {"type": "boolean"}}, "required": ["good"]}
TOOL = {
    "type": "function",
    "function": {
        "name": "level",
        "description": "Sets it.",
        "parameters": {"type": "object", "properties": {"q": {"enum": ["Q4", "Q8"]}}, "required": ["q"]},
    },
}
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "My name is Zora."}]},
    {"role": "assistant", "content": "Nice to meet you, Zora!"},
    {"role": "user", "content": "What is my name?"},
]
CALLED = [
    {"role": "user", "content": "Use Q4."},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "abcdefghi", "type": "function", "function": {"name": "level", "arguments": '{"q": "Q4"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "abcdefghi", "content": "done"},
]

# name: path and body, or path alone
REQUESTS: dict[str, tuple[str, Any]] = {
    "health": ("/health", None),
    "models": ("/v1/models", None),
    "nowhere": ("/v1/nothing", None),
    "chat": (CHAT, ASK),
    "chat to its end": (CHAT, {**ASK, "max_tokens": 100}),
    "chat, roles and parts": (CHAT, {**ASK, "messages": SAID}),
    "chat, max_completion_tokens": (CHAT, {**ASK, "max_tokens": None, "max_completion_tokens": 5}),
    "chat, stop": (CHAT, {**ASK, "stop": ["file"]}),
    "chat, n": (CHAT, {**ASK, "n": 2}),
    "chat, penalties": (CHAT, {**ASK, "presence_penalty": 1.5, "frequency_penalty": 1.5}),
    "chat, repeat_penalty": (CHAT, {**ASK, "repeat_penalty": 1.5}),
    "chat, logit_bias": (CHAT, {**ASK, "logit_bias": {"72": 100}, "max_tokens": 3}),
    "chat, top_k at any temperature": (CHAT, {**ASK, "temperature": 1.5, "top_k": 1}),
    "chat, logprobs": (CHAT, {**ASK, "logprobs": True, "top_logprobs": 2, "max_tokens": 4}),
    "chat, json_schema": (
        CHAT,
        {**ASK, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    ),
    "chat, grammar": (CHAT, {**ASK, "grammar": 'root ::= "yes" | "no"'}),
    "chat, streamed": (CHAT, {**ASK, "stream": True}),
    "chat, streamed with usage": (CHAT, {**ASK, "stream": True, "stream_options": {"include_usage": True}}),
    "chat, tools": (CHAT, {**ASK, "tools": [TOOL]}),
    "chat, tools not to be called": (CHAT, {**ASK, "tools": [TOOL], "tool_choice": "none"}),
    "chat, a tool that must be called": (
        CHAT,
        {**ASK, "tools": [TOOL], "tool_choice": "required", "max_tokens": 120},
    ),
    "chat, result of a tool": (CHAT, {**ASK, "messages": CALLED, "tools": [TOOL]}),
    "text": (TEXT, WRITE),
    "text, several": (TEXT, {**WRITE, "prompt": ["GGUF is", "LoRA is"]}),
    "text, tokens": (TEXT, {**WRITE, "prompt": [72, 73]}),
    "text, logprobs": (TEXT, {**WRITE, "logprobs": 2}),
    "text, streamed": (TEXT, {**WRITE, "stream": True}),
    "text, echo": (TEXT, {**WRITE, "echo": True}),
    "vectors": (VECTORS, {"input": ["What is GGUF?", "LoRA"]}),
    "vectors, base64": (VECTORS, {"input": "What is GGUF?", "encoding_format": "base64"}),
    "no JSON": (CHAT, b"{"),
    "no messages": (CHAT, {"model": "demo"}),
    "empty messages": (CHAT, {"messages": []}),
    "unknown role": (CHAT, {**ASK, "messages": [{"role": "boss", "content": "x"}]}),
    "wrong type": (CHAT, {**ASK, "temperature": "hot"}),
    "out of range": (CHAT, {**ASK, "temperature": -1}),
    "unknown field": (CHAT, {**ASK, "no_such_field": 1}),
    "unknown model": (CHAT, {**ASK, "model": "gpt-4"}),
    "broken grammar": (CHAT, {**ASK, "grammar": "root ::= ("}),
    "too long": (CHAT, {**ASK, "messages": [{"role": "user", "content": "word " * 5000}]}),
    "an image": (
        CHAT,
        {
            **ASK,
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        },
    ),
}

# a request's name and what differs (expressions), and why
LISTED = [
    (".*", r"timings\..*", "llama-server adds speeds to every answer; here /metrics has them"),
    (
        ".*",
        r"error\.(code|param|n_.*)",
        "its code is the status again; here it is the API's word, with the field",
    ),
    ("models", r"models.*|data.*\.(aliases|meta).*", "what llama-server's own pages read"),
    (
        "models",
        r"data.*\.context_length",
        "what a request may take: `chat --api-base` reads it, others pass over it",
    ),
    (".*", r"(.*\.)?logprobs\..*\.id", "the API does not tell the ids of tokens"),
    (
        "chat, n|text, several",
        r"usage\.(completion|prompt)_tokens",
        "it counts the tokens of one answer, the API those of all",
    ),
    (
        "chat, json_schema",
        r"choices.*|usage\.completion_tokens",
        "another grammar of the same schema: it leaves more space between the words",
    ),
    (
        "chat, tools not to be called",
        r"usage\.prompt_tokens",
        "it tells the model about tools that it must not call",
    ),
    (
        "chat, a tool that must be called",
        r"choices.*|usage\.completion_tokens",
        "it leaves the call to the model with this template; here a grammar forces it",
    ),
    (
        "text, logprobs",
        r"choices\[0\]\.logprobs\..*",
        "it answers in the shape of chats, not in the legacy one",
    ),
    (".*, streamed", r"usage\..*", "it sends the usage also to who has not asked for it"),
    ("text, echo", r"choices\[0\]\.text", "it takes the field and does nothing"),
    (
        "vectors",
        r"data\[0\]\.embedding",
        "its vector of a text in a batch of two is not its vector of the same text alone, which ours equals",
    ),
    ("vectors, base64", r"data\[0\]\.encoding_format", "not a field of the API"),
    ("no JSON|an image", "status", "it calls the client's mistake its own (500)"),
    (
        "empty messages|unknown role|out of range|unknown field|unknown model",
        "status",
        "it answers something else than was asked; here nothing is passed over",
    ),
]


def main() -> int:
    """Print every difference with its reason; return 1 when one has none, or a reason no difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference-bin", required=True, type=Path, help="llama-server")
    program = parser.parse_args().reference_bin
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        model, template = demo_model(folder), folder / "tools.jinja"
        template.write_text(TEMPLATE)
        ours = stack.enter_context(running(our_command(model, template)))
        theirs = stack.enter_context(running(their_command(program, model, template)))
        vectors = stack.enter_context(
            running([*their_command(program, model, template), "--embeddings", "--pooling", "mean"])
        )
        return compare(ours, theirs, vectors)


def compare(ours: str, theirs: str, vectors: str) -> int:
    unexplained, used = 0, set()
    for name, (path, body) in REQUESTS.items():
        left = facts(ask(ours, path, body))
        right = facts(ask(vectors if path == VECTORS else theirs, path, body))
        different = differences(left, right)
        print(f"{name}: {'alike' if not different else ''}")
        for entry, keys in by_entry(name, different).items():
            used.add(entry)
            unexplained += len(keys) if entry is None else 0
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            print(f"  {keys[0]}{more}: {shown(left.get(keys[0]))} / {shown(right.get(keys[0]))}")
            print(f"    {'NOT LISTED' if entry is None else entry[2]}")
    useless = [entry for entry in LISTED if entry not in used]
    for entry in useless:
        print(f"LISTED, but alike: {entry}")
    print(f"{len(REQUESTS)} requests, {unexplained} differences that are not listed")
    return int(unexplained > 0 or bool(useless))


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return where two answers differ; of those with another status nothing else is compared."""
    keys = sorted({*left, *right}) if left["status"] == right["status"] else ["status"]
    return [key for key in keys if not alike(left.get(key), right.get(key))]


def by_entry(name: str, keys: list[str]) -> dict[Any, list[str]]:
    """Return the differences of a request by what explains them, None for those that nothing does."""
    found: dict[Any, list[str]] = {}
    for key in keys:
        entry = next((e for e in LISTED if re.fullmatch(e[0], name) and re.fullmatch(e[1], key)), None)
        found.setdefault(entry, []).append(key)
    return found


# what is compared -----------------------------------------------------------------------------


def facts(answer: tuple[int, Any]) -> dict[str, Any]:
    """Return what an answer says, each under the place where it says it; events are put together."""
    status, said = answer
    found: dict[str, Any] = {"status": status}
    for body in said if isinstance(said, list) else [said]:
        collect("", body, found)
    return found


def collect(place: str, value: Any, found: dict[str, Any]) -> None:
    """Add the fields in `value`: texts, reasons and numbers as they are, of others the kind alone."""
    if isinstance(value, dict):
        for name, inner in value.items():
            collect(f"{place}.{name}" if place else name, inner, found)
    elif isinstance(value, list) and not (value and isinstance(value[0], int | float)):
        for index, inner in enumerate(value):
            number = inner.get("index", index) if isinstance(inner, dict) else index
            collect(f"{place}[{number}]", inner, found)
    elif place.endswith((".content", ".text", ".arguments")) and isinstance(value, str):
        found[place] = found.get(place, "") + value
    elif place.endswith("embedding") and isinstance(value, str):
        found[place] = list(array.array("f", base64.b64decode(value)))
    elif re.search(r"logprob|finish_reason|[nt]_tokens$|function.name|embedding", place):
        found[place] = value if value is not None else found.get(place)
    elif value is not None:
        found[place] = "a number" if isinstance(value, int | float) else type(value).__name__


def alike(left: Any, right: Any) -> bool:
    """Whether two facts are the same, numbers nearly: batches of another size round otherwise."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-2, abs_tol=2e-3)
    return bool(left == right)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:100] + "…"


# asking ---------------------------------------------------------------------------------------


def ask(url: str, path: str, body: Any) -> tuple[int, Any]:
    """Return the status and the JSON of an answer, or of its events."""
    if body is None:
        answer = httpx2.get(url + path)
    else:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        answer = httpx2.post(url + path, content=content, headers=headers, timeout=120)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        return answer.status_code, [{"end": True} if line == "[DONE]" else json.loads(line) for line in lines]
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, {"no JSON": answer.text}


@contextlib.contextmanager
def running(command: list[str | Path]) -> Iterator[str]:
    """Run a server on a free port and yield its address once it is healthy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*map(str, command), "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_healthy(url, process)
            yield url
        finally:
            process.terminate()


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/health").status_code == 200:
                return
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        time.sleep(0.1)
    raise SystemExit(f"{process.args} does not answer")


def our_command(model: Path, template: Path) -> list[str | Path]:
    return [
        sys.executable,
        "-m",
        "localllm",
        "serve",
        model,
        "--template",
        template,
        "--context",
        str(CONTEXT),
    ]


def their_command(program: Path, model: Path, template: Path) -> list[str | Path]:
    size = ["-c", str(4 * CONTEXT), "-np", "4"]
    return [program, "-m", model, "--jinja", "--chat-template-file", template, *size]


def demo_model(folder: Path) -> Path:
    """Return the demo model at Q8_0, made in `folder`."""
    source = convert(ROOT / "models" / "demo", output=folder / "demo-BF16.gguf").path
    (level,) = parse_levels(["Q8_0"])
    quantize_model(source, [(level, folder / "demo-Q8_0.gguf")])
    return folder / "demo-Q8_0.gguf"


if __name__ == "__main__":
    sys.exit(main())
