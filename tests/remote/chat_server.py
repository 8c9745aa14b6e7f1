"""A double of a Chat Completions server on loopback: it answers from a script and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """Answers `answers` in turn, word by word. Attributes may be set at any time.

    `refuses` are fields it answers with 400 for; `key` is asked for; `pause_seconds` is waited between words,
    and `reading_seconds` before the first. `cut` ends the stream after so many words. `hang_ups` counts the
    clients that left in the middle.
    """

    answers: list[str] = field(default_factory=lambda: ["Hello there."])
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "tiny", "owned_by": "llamacpp"}])
    context: int | None = None
    refuses: tuple[str, ...] = ()
    key: str | None = None
    status: int = 200
    error: Any = None
    error_in_stream: Any = None
    tells_usage: bool = True
    reasoning: str = ""
    streams: bool = True
    knows_n: bool = True
    pause_seconds: float = 0.0
    reading_seconds: float = 0.0
    cut: int | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    hang_ups: int = 0
    port: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reference(self, name: str = "tiny") -> str:
        return f"{self.base}#{name}"


@contextmanager
def chat_server(**settings: Any) -> Iterator[ChatServer]:
    """Yield a server that listens as long as the block lasts."""
    server = ChatServer(**settings)

    class Handler(_Handler):
        script = server

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    script: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": self.script.models})
        elif self.path == "/props" and self.script.context is not None:
            self._json(200, {"default_generation_settings": {"n_ctx": self.script.context}})
        else:
            self._json(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        script = self.script
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script.asked.append(body)
        script.headers.append(dict(self.headers))
        refused = next((name for name in script.refuses if name in body), None)
        if self.path != "/v1/chat/completions":
            self._json(404, {"error": {"message": f"no {self.path}"}})
        elif script.key and self.headers.get("Authorization") != f"Bearer {script.key}":
            said = f"Incorrect API key provided: {self.headers.get('Authorization')}"
            self._json(401, {"error": {"message": said}})
        elif script.status != 200:
            self._json(script.status, script.error)
        elif refused:
            self._json(400, {"error": {"message": f"Unsupported parameter: '{refused}'", "param": refused}})
        elif not script.streams:
            self._json(200, self._whole(body))
        else:
            try:
                self._stream(body)
            except (BrokenPipeError, ConnectionResetError):
                script.hang_ups += 1
                self.close_connection = True

    def _texts(self, body: dict[str, Any]) -> list[str]:
        count = body.get("n", 1) if self.script.knows_n else 1
        texts = [self.script.answers[index % len(self.script.answers)] for index in range(count)]
        self.script.answers = self.script.answers[count:] + self.script.answers[:count]
        return texts

    def _usage(self, body: dict[str, Any], texts: list[str]) -> dict[str, Any]:
        prompt = sum(len(message["content"].split()) + 4 for message in body["messages"])
        said = sum(len(text.split()) for text in texts)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
            "prompt_tokens_details": {"cached_tokens": min(3, prompt)},
        }

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = self._texts(body)
        choices = [
            {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for i, text in enumerate(texts)
        ]
        return {"object": "chat.completion", "choices": choices, "usage": self._usage(body, texts)}

    def _stream(self, body: dict[str, Any]) -> None:
        script, texts = self.script, self._texts(body)
        time.sleep(script.reading_seconds)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._event(": a comment")
        self._choice(0, {"role": "assistant", "content": None})
        if script.reasoning:
            for word in script.reasoning.split(" "):
                self._choice(0, {"reasoning_content": word + " "})
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        said = 0
        for position in range(max(len(text.split(" ")) for text in texts)):
            for index, text in enumerate(texts):
                words = text.split(" ")
                if position < len(words) and (limit is None or position < limit):
                    if said == script.cut:
                        self.close_connection = True
                        return
                    said += 1
                    self._choice(index, {"content": (" " if position else "") + words[position]})
                    time.sleep(script.pause_seconds)
        if script.error_in_stream is not None:
            self._event(f"data: {json.dumps(script.error_in_stream)}")
            self._end()
            return
        for index, text in enumerate(texts):
            was_cut = limit is not None and len(text.split(" ")) > limit
            self._choice(index, {}, "length" if was_cut else "stop")
        if script.tells_usage and body.get("stream_options", {}).get("include_usage"):
            self._event(f"data: {json.dumps({'choices': [], 'usage': self._usage(body, texts)})}")
        self._event("data: [DONE]")
        self._end()

    def _choice(self, index: int, delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "finish_reason": reason}
        self._event(f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}")

    def _event(self, text: str) -> None:
        data = f"{text}\r\n\r\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, data: Any) -> None:
        body = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
