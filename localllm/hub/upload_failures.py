"""What goes wrong while files are sent to the hub, as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR

import httpx2
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import logging

from localllm.errors import HubError, LocalLLMError, OfflineError
from localllm.hub.failures import SIGN_IN, refusal

_AGAIN = "run it again: what has arrived is not sent again"
_REFUSED = (401, 403)
_LONGEST = 300  # characters of a reason


@contextmanager
def translated(repo: str) -> Iterator[None]:
    """Turn what huggingface_hub raises while it sends into LocalLLMErrors, and keep it from writing logs."""
    level = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    except LocalLLMError:
        raise
    except OfflineModeIsEnabled:
        raise OfflineError(
            f"sending files to {repo} needs the hub, but HF_HUB_OFFLINE is set", hint="unset it"
        ) from None
    except Exception as error:  # those of a transfer come wrapped, and Xet's have no class of their own
        known = _translation(error, repo)
        if known is None:
            raise
        raise known from error
    finally:
        logging.set_verbosity(level)


def _translation(error: Exception, repo: str) -> LocalLLMError | None:
    """Return what an error means; None for what is no failure of the transfer but a bug."""
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, HfHubHTTPError) and each.response is not None:  # before OSError, which it is too
            return _refusal(each.response, repo)
    for each in chain:
        if isinstance(each, httpx2.ConnectError):
            return OfflineError(f"cannot reach the hub: {each}", hint=_AGAIN)
        if isinstance(each, httpx2.TransportError | httpx2.StreamError | OSError):
            return HubError(f"sending files to {repo} broke off: {_reason(each)}", hint=_AGAIN)
    if isinstance(error, ValueError | RuntimeError):
        return HubError(f"the hub does not take the files: {_reason(chain[-1])}", hint=_AGAIN)
    return None


def _refusal(response: httpx2.Response, repo: str) -> LocalLLMError:
    if response.status_code in _REFUSED:
        return HubError(f"the hub does not let you write to {repo}", hint=f"with a token that may: {SIGN_IN}")
    host = response.url.host
    said = response.headers.get("X-Error-Message", "").strip()
    if 400 <= response.status_code < 500 and said:
        return HubError(f"{host} refuses: {said[:_LONGEST]}")
    if response.status_code >= 500:
        return HubError(
            f"{host} answers {response.status_code} {response.reason_phrase}".rstrip(), hint=_AGAIN
        )
    return refusal(response, host)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it comes from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__
