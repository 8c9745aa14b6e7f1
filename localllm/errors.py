"""Every way a localllm command can fail, and nothing else.

    LocalLLMError                 code "error", exit 1
    ├── UsageError                the command line or arguments make no sense (exit 2)
    │   ├── UnknownLevelError     no such quantization level
    │   └── SameFileError         source and target are one file
    ├── NotFoundError             a path, model or session that does not exist
    ├── InvalidGGUFError          a GGUF file that is damaged, hostile or not a GGUF file
    ├── CheckpointError           a Hugging Face checkpoint that cannot be read
    │   ├── UnsupportedModelError an architecture or storage method that is not supported
    │   └── TokenizerError        a tokenizer that cannot be carried over faithfully
    ├── ModelLoadError            llama.cpp refused a model
    ├── QuantizationError         llama.cpp could not quantize
    ├── ImportanceMatrixError     an importance matrix that cannot be read or made
    ├── GenerationError           a template that rejects the conversation, a decode that fails
    │   └── PromptTooLongError    a prompt that does not fit into the context
    ├── UnavailableError          an engine that takes no requests: it is stopping, or broke
    │   └── QueueFullError        as many requests wait as may wait; carries when to come again
    ├── ServerError               a server that cannot start
    ├── SessionError              a saved conversation that cannot be read or written
    ├── StateError                a saved attention cache that is damaged or of another model
    ├── ReferenceStoreError       stored predictions of a reference that are damaged or of something else
    ├── VocabularyMismatchError   two models that cannot be compared: their tokens differ
    ├── CardError                 a model card that cannot be read or added to
    ├── StorageError              disk full, no permission, name too long
    ├── HubError                  the hub, or another server, did not give what was asked for
    │   ├── GatedModelError       a repository one has to ask for, or sign in for, first
    │   ├── OfflineError          no way to the server, and what is wanted is not on this machine
    │   └── ChecksumError         a file that is not what the hub lists
    └── NativeCrashError          llama.cpp died; carries its last log lines

An error is one line of message and, where there is one, a hint naming the next command to run.
Anything that is not a LocalLLMError is a bug in localllm and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar


class LocalLLMError(Exception):
    """A failure the user can understand: `message` is one line, `hint` says what to do next."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @classmethod
    def by_code(cls, code: str) -> type[LocalLLMError]:
        """Return the class whose `code` is `code`, so that an error can cross a process boundary."""
        pending: list[type[LocalLLMError]] = [LocalLLMError]
        while pending:
            candidate = pending.pop()
            if candidate.code == code:
                return candidate
            pending.extend(candidate.__subclasses__())
        return LocalLLMError


class UsageError(LocalLLMError):
    code = "usage"
    exit_code = 2


class UnknownLevelError(UsageError):
    code = "unknown-level"


class SameFileError(UsageError):
    code = "same-file"


class NotFoundError(LocalLLMError):
    code = "not-found"


class InvalidGGUFError(LocalLLMError):
    code = "invalid-gguf"


class CheckpointError(LocalLLMError):
    code = "invalid-checkpoint"


class UnsupportedModelError(CheckpointError):
    code = "unsupported-model"


class TokenizerError(CheckpointError):
    code = "tokenizer"


class ModelLoadError(LocalLLMError):
    code = "model-load"


class QuantizationError(LocalLLMError):
    code = "quantization"


class ImportanceMatrixError(LocalLLMError):
    code = "imatrix"


class GenerationError(LocalLLMError):
    code = "generation"


class PromptTooLongError(GenerationError):
    code = "prompt-too-long"


class UnavailableError(LocalLLMError):
    code = "unavailable"


class QueueFullError(UnavailableError):
    """`retry_after_seconds` is how long it may take until there is room."""

    code = "queue-full"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_seconds: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class ServerError(LocalLLMError):
    code = "server"


class SessionError(LocalLLMError):
    code = "session"


class StateError(LocalLLMError):
    code = "state"


class ReferenceStoreError(LocalLLMError):
    code = "reference-store"


class VocabularyMismatchError(LocalLLMError):
    code = "vocabulary-mismatch"


class CardError(LocalLLMError):
    code = "card"


class StorageError(LocalLLMError):
    code = "storage"


class HubError(LocalLLMError):
    code = "hub"


class GatedModelError(HubError):
    code = "gated"


class OfflineError(HubError):
    code = "offline"


class ChecksumError(HubError):
    code = "checksum"


class NativeCrashError(LocalLLMError):
    code = "native-crash"
