"""`/v1/embeddings`."""

from __future__ import annotations

import array
import asyncio
import base64
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from localllm.batching import Embedding
from localllm.server.api_error import ApiError
from localllm.server.engines import Engine
from localllm.server.serving import Body, Serving
from localllm.server.text_fields import EmbeddingFields


async def embed(serving: Serving, body: Body, stack: AsyncExitStack) -> Body:
    """Answer a request for embeddings. Raise ApiError, LocalLLMError."""
    wish = EmbeddingFields.read(body)
    wish.inputs()
    model = serving.catalogue.find(wish.model)
    engine = await stack.enter_async_context(serving.catalogue.use(model))
    embedded = await asyncio.to_thread(_embedded, engine, wish)
    write = _base64 if wish.encoding_format == "base64" else list
    data = [
        {"object": "embedding", "index": index, "embedding": write(vector)}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    return {"object": "list", "data": data, "model": model.name, "usage": usage}


def _embedded(engine: Engine, wish: EmbeddingFields) -> Embedding:
    embedded = engine.embed(
        [engine.embedding_prompt(each) if isinstance(each, str) else each for each in wish.inputs()]
    )
    width = len(embedded.vectors[0])
    if wish.dimensions not in (None, width):
        raise ApiError(
            400, f"this model's embeddings have {width} dimensions and cannot have others", param="dimensions"
        )
    return embedded


def _base64(vector: Sequence[float]) -> str:
    """Return 32-bit floats, the lowest byte first, as base64."""
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode("ascii")
