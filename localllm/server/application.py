"""Puts the server together: addresses, and the gates in front of them."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from localllm.server.catalogue import Catalogue, Served
from localllm.server.chat import chat
from localllm.server.embedding import embed
from localllm.server.endpoint import Endpoint
from localllm.server.gate import HEALTH, ErrorGate, HostGate, KeyGate
from localllm.server.host_names import HostNames
from localllm.server.metrics import CONTENT_TYPE, Metrics
from localllm.server.serving import Serving
from localllm.server.settings import ServerSettings
from localllm.server.text import complete

_HANDLERS = {
    "/v1/chat/completions": chat,
    "/v1/completions": complete,
    "/v1/embeddings": embed,
}
_OWNER = "localllm"
_PREFLIGHT_SECONDS = 600


def application(catalogue: Catalogue, settings: ServerSettings) -> ASGIApp:
    """Return the server as an ASGI application."""

    serving = Serving(catalogue, Metrics(catalogue.models))
    routes = [
        Route(path, Endpoint(handler, serving, settings.max_body_bytes), methods=["POST"])
        for path, handler in _HANDLERS.items()
    ]
    routes += _readable(serving)
    paths = frozenset(route.path for route in routes)
    app: ASGIApp = Router(routes, redirect_slashes=False, default=_nothing_there)
    if settings.keys:
        app = KeyGate(app, settings.keys)
    app = ErrorGate(app)
    if settings.allowed_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            max_age=_PREFLIGHT_SECONDS,
        )
    return HostGate(app, HostNames(settings), serving.metrics, paths)


def _readable(serving: Serving) -> list[Route]:
    """Return the addresses that are only read."""
    catalogue = serving.catalogue

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return Response(serving.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_described(model) for model in catalogue.models]})

    async def one_model(request: Request) -> Response:
        return JSONResponse(_described(catalogue.find(request.path_params["name"])))

    return [
        Route(HEALTH, health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{name:path}", one_model, methods=["GET"]),
    ]


def _described(model: Served) -> dict[str, object]:
    """Return what the API tells of a model, and of a loaded one how many tokens a request may take."""
    known = {} if model.engine is None else {"context_length": model.engine.context_size}
    return {"id": model.name, "object": "model", "created": model.since, "owned_by": _OWNER, **known}


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404)
