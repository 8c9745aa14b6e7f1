"""The API's own way to say no: a status and `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localllm.errors import (
    GenerationError,
    LocalLLMError,
    PromptTooLongError,
    QueueFullError,
    UnavailableError,
    UsageError,
)

_MOST_SAID = 500  # characters: messages quote what they complain about
INVALID = "invalid_request_error"
SERVER = "server_error"


class ApiError(Exception):
    """An answer that is an error. `param` is the field that is wrong, written like `messages[0].role`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message if len(message) <= _MOST_SAID else message[:_MOST_SAID] + "…"
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return what the client is sent."""
        said = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": said}


def unsupported(param: str, why: str) -> ApiError:
    """Return the error for a field of the API that cannot be done here."""
    return ApiError(400, why, param=param, code="unsupported_parameter")


def shutting_down() -> ApiError:
    return ApiError(503, "the server is shutting down", kind=SERVER, code="shutting_down")


def api_error_of(error: LocalLLMError) -> ApiError:
    """Return how the API says what localllm says; hints name commands, which are not for clients."""
    if isinstance(error, QueueFullError):
        return ApiError(
            429,
            error.message,
            kind="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"Retry-After": str(error.retry_after_seconds)},
        )
    if isinstance(error, PromptTooLongError):
        return ApiError(400, error.message, code="context_length_exceeded")
    if isinstance(error, UnavailableError):
        return ApiError(503, error.message, kind=SERVER, code=error.code)
    if isinstance(error, UsageError | GenerationError):
        return ApiError(400, error.message)
    return ApiError(500, error.message, kind=SERVER, code=error.code)
