"""What the hub's refusals mean, each with its own message and hint."""

from __future__ import annotations

import httpx2
from huggingface_hub import get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import hf_raise_for_status

from localllm.errors import GatedModelError, HubError, LocalLLMError, NotFoundError

_MISSING = "there is no such repository on the hub, or it is private"
SIGN_IN = "sign in with `hf auth login`, or set HF_TOKEN"


class MissingRepoError(NotFoundError):
    """A repository that is not there, or that one may not see."""


class MissingRevisionError(NotFoundError):
    """A branch, tag or commit that is not there."""


def refusal(response: httpx2.Response, host: str) -> LocalLLMError:
    """Return the error for an answer that is no success and will not become one by waiting."""
    try:
        hf_raise_for_status(response)
    except GatedRepoError as error:  # is a RepositoryNotFoundError too
        return _gated(error)
    except RepositoryNotFoundError:
        return MissingRepoError(_MISSING)
    except RevisionNotFoundError:
        return MissingRevisionError("the repository has no such revision")
    except EntryNotFoundError:
        return NotFoundError("the repository has no such file")
    except DisabledRepoError:
        return HubError("the hub has disabled this repository")
    except HfHubHTTPError:
        pass  # also an OSError: nothing of it may get away
    return _by_status(response, host)


def _gated(error: GatedRepoError) -> GatedModelError:
    repo = str(getattr(error, "repo_id", None) or "the repository")
    if get_token() is None:
        return GatedModelError(f"{repo} is gated: its authors want to know who takes it", hint=SIGN_IN)
    return GatedModelError(
        f"{repo} is gated, and your account has not been let in",
        hint="ask for access on its page on the hub, then run this again",
    )


def _by_status(response: httpx2.Response, host: str) -> LocalLLMError:
    status = response.status_code
    if status == 401 and "authorization" not in response.request.headers:
        return MissingRepoError(_MISSING)
    if status == 401:
        return GatedModelError(f"{host} does not accept the token", hint=SIGN_IN)
    if status == 404:
        return NotFoundError(f"{host} has nothing at {str(response.url)[:200]}")
    return HubError(f"{host} refuses: {status} {response.reason_phrase}".rstrip(), hint="run it again later")
