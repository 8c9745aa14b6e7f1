"""The exception tree: codes are unique and stable, and each leads back to its class and exit code."""

from __future__ import annotations

import pytest

from localllm import errors
from localllm.errors import LocalLLMError, UsageError

CODES = {
    "LocalLLMError": "error",
    "UsageError": "usage",
    "UnknownLevelError": "unknown-level",
    "SameFileError": "same-file",
    "NotFoundError": "not-found",
    "InvalidGGUFError": "invalid-gguf",
    "CheckpointError": "invalid-checkpoint",
    "UnsupportedModelError": "unsupported-model",
    "TokenizerError": "tokenizer",
    "ModelLoadError": "model-load",
    "QuantizationError": "quantization",
    "ImportanceMatrixError": "imatrix",
    "GenerationError": "generation",
    "PromptTooLongError": "prompt-too-long",
    "UnavailableError": "unavailable",
    "QueueFullError": "queue-full",
    "ServerError": "server",
    "SessionError": "session",
    "StateError": "state",
    "ReferenceStoreError": "reference-store",
    "VocabularyMismatchError": "vocabulary-mismatch",
    "CardError": "card",
    "StorageError": "storage",
    "HubError": "hub",
    "GatedModelError": "gated",
    "OfflineError": "offline",
    "ChecksumError": "checksum",
    "NativeCrashError": "native-crash",
}


def family(root: type[LocalLLMError] = LocalLLMError) -> list[type[LocalLLMError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in family(child))]


def test_codes_are_pinned_and_unique() -> None:
    assert {kind.__name__: kind.code for kind in family() if kind.__module__ == errors.__name__} == CODES


@pytest.mark.parametrize(
    "kind", [kind for kind in family() if "code" in vars(kind)], ids=lambda kind: kind.__name__
)
def test_a_code_leads_back_to_its_class(kind: type[LocalLLMError]) -> None:
    assert LocalLLMError.by_code(kind.code) is kind


def test_an_unknown_code_is_a_plain_error() -> None:
    assert LocalLLMError.by_code("from the future") is LocalLLMError


@pytest.mark.parametrize("kind", family(), ids=lambda kind: kind.__name__)
def test_usage_errors_alone_exit_with_2(kind: type[LocalLLMError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)


def test_message_and_hint() -> None:
    error = LocalLLMError("it failed", hint="try again")
    assert (str(error), error.message, error.hint) == ("it failed", "it failed", "try again")
    assert LocalLLMError("it failed").hint is None


def test_the_docstring_draws_the_tree() -> None:
    assert errors.__doc__
    assert all(name in errors.__doc__ for name in CODES)
