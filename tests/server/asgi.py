"""Asks the server's application without a network, thousands of times in a few seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from localllm.server.application import application
from localllm.server.catalogue import Catalogue
from localllm.server.engines import Engine
from localllm.server.settings import ServerSettings

CHAT = "/v1/chat/completions"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])

    @property
    def events(self) -> list[Any]:
        """The JSON of the server-sent events, without the last, which says that it is the last."""
        lines = [line for line in self.body.decode().split("\n\n") if line]
        return [json.loads(line.removeprefix("data: ")) for line in lines if line != "data: [DONE]"]


class Client:
    """Asks an application that serves `engine` as the model `m`."""

    def __init__(
        self, engine: Engine, settings: ServerSettings | None = None, models: Sequence[str] = ("m",)
    ) -> None:
        self.catalogue = Catalogue(models, lambda _: engine, None)
        self.app = application(self.catalogue, settings or ServerSettings())

    def ask(self, body: Any, path: str = CHAT, **headers: str) -> Answer:
        """Return the answer to a POST of JSON, or of bytes as they are."""
        return asyncio.run(self.post(body, path, **headers))

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return asyncio.run(self.send(method, path, b"", headers))

    async def post(self, body: Any, path: str = CHAT, **headers: str) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send("POST", path, content, {"content-type": "application/json", **headers})

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        answer, done, left = Answer(), asyncio.Event(), asyncio.Event()
        named = {"host": "localhost:8080", "content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> dict[str, Any]:
            if not done.is_set():
                done.set()
                return {"type": "http.request", "body": body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        return answer


def messages(text: str = "Hi") -> dict[str, Any]:
    """Return the least that a chat request needs."""
    return {"model": "m", "messages": [{"role": "user", "content": text}]}
