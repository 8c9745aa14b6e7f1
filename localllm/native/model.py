"""A model loaded by llama.cpp: its vocabulary and its properties."""

from __future__ import annotations

import ctypes
import functools
from enum import IntFlag
from pathlib import Path
from typing import Any

from localllm.errors import GenerationError, ModelLoadError
from localllm.native import logs
from localllm.native.library import llama
from localllm.native.patience import load_patiently

_MAX_TEXT_BYTES = 64 * 1024 * 1024
_LOAD_MODE_NONE = 0  # LLAMA_LOAD_MODE_NONE: nothing is mapped into memory


class TokenAttribute(IntFlag):
    """What kind of token it is (enum llama_token_attr in llama.h)."""

    UNKNOWN = 1 << 0
    CONTROL = 1 << 3
    USER_DEFINED = 1 << 4
    STRIPS_LEFT = 1 << 7
    STRIPS_RIGHT = 1 << 8


class Model:
    """A loaded GGUF model. Close it, or use it as a context manager; nothing works afterwards.

    The file must have passed `preflight.require_loadable`: llama.cpp aborts the process on some files. With
    `weightless` all of it is loaded but the weights, which may be missing as holes of the file. `gpu_layers`
    of the layers go onto the GPUs; None takes all.
    """

    def __init__(
        self,
        path: Path,
        *,
        vocabulary_only: bool = False,
        weightless: bool = False,
        gpu_layers: int | None = None,
    ) -> None:
        library = llama()
        logs.clear()
        params = library.llama_model_default_params()
        params.vocab_only = vocabulary_only
        if gpu_layers is not None:
            params.n_gpu_layers = gpu_layers
        if weightless:
            params.no_alloc, params.load_mode, params.n_gpu_layers = True, _LOAD_MODE_NONE, 0
        self._library = library
        name = _path_bytes(path)
        self._handle: Any = load_patiently(
            lambda params: library.llama_model_load_from_file(name, params), params, library.llama_model_free
        )
        if not self._handle:
            reason = next(iter(logs.last_errors(2)), "the file was refused without a reason")
            raise ModelLoadError(f"llama.cpp cannot load {path}: {reason}")
        self._vocabulary: Any = library.llama_model_get_vocab(self._handle)
        self._pieces: dict[int, bytes | None] = {}
        self.path = path
        self.vocabulary_size = int(library.llama_vocab_n_tokens(self._vocabulary))
        self.training_context = int(library.llama_model_n_ctx_train(self._handle))
        self.bos = int(library.llama_vocab_bos(self._vocabulary))
        self.embedding_size = int(library.llama_model_n_embd_out(self._handle))
        self.parameters = int(library.llama_model_n_params(self._handle))
        self.eos = int(library.llama_vocab_eos(self._vocabulary))
        self.adds_bos = bool(library.llama_vocab_get_add_bos(self._vocabulary))
        self.window = int(library.llama_model_n_swa(self._handle))  # 0: every layer looks back to the start
        # keeps a state that cannot go back, in all layers or in some
        self.is_recurrent = bool(
            library.llama_model_is_recurrent(self._handle) or library.llama_model_is_hybrid(self._handle)
        )

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model. Contexts made from it must be closed before."""
        if self._handle:
            self._library.llama_model_free(self._handle)
            self._handle = None

    @property
    def handle(self) -> Any:
        """Return the C pointer, for the other modules of this package."""
        return self._handle

    @property
    def vocabulary(self) -> Any:
        """Return the C pointer of the vocabulary, for the other modules of this package."""
        return self._vocabulary

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Return the token ids of `text`.

        `add_special` adds BOS and EOS where the model wants them; with `parse_special` the texts of
        control tokens become those tokens. Raise GenerationError for text beyond 64 MiB.
        """
        data = text.encode("utf-8", "replace")
        if len(data) > _MAX_TEXT_BYTES:
            raise GenerationError(f"the text is {len(data)} bytes long, more than {_MAX_TEXT_BYTES}")
        capacity = len(data) + 16
        while True:
            buffer = (ctypes.c_int32 * capacity)()
            count = self._library.llama_tokenize(
                self._vocabulary, data, len(data), buffer, capacity, add_special, parse_special
            )
            if count >= 0:
                return list(buffer[:count])
            capacity = -count

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes a token stands for; control tokens are empty unless `special` is set."""
        capacity = 64
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            size = self._library.llama_token_to_piece(self._vocabulary, token, buffer, capacity, 0, special)
            if size >= 0:
                return buffer.raw[:size]
            capacity = -size

    def ordinary_piece(self, token: int) -> bytes | None:
        """Return `piece(token)`, or None for a token that ends a generation; remembers what it was asked."""
        if token not in self._pieces:
            self._pieces[token] = None if self.is_end(token) else self.piece(token)
        return self._pieces[token]

    def attributes(self, token: int) -> int:
        """Return the kind of a token as the bits of TokenAttribute."""
        return int(self._library.llama_vocab_get_attr(self._vocabulary, token))

    def text(self, token: int) -> str:
        """Return a token's entry in the vocabulary, which for control tokens is the text they stand for."""
        data: bytes | None = self._library.llama_vocab_get_text(self._vocabulary, token)
        return (data or b"").decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """Tell whether `token` ends a generation (end of sequence or of a turn)."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    @functools.cached_property
    def suppressed(self) -> tuple[int, ...]:
        """Return the tokens that must never be generated, by the file's own word."""
        count = ctypes.c_int32()
        tokens = self._library.llama_vocab_get_suppress_tokens(self._vocabulary, ctypes.byref(count))
        return tuple(tokens[index] for index in range(count.value)) if tokens else ()

    def metadata(self, key: str) -> str | None:
        """Return a metadata value as llama.cpp prints it, or None when it is missing."""
        capacity = 4096
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            size = self._library.llama_model_meta_val_str(self._handle, key.encode(), buffer, capacity)
            if size < 0:
                return None
            if size < capacity:
                return buffer.value.decode("utf-8", "replace")
            capacity = size + 1


def _path_bytes(path: Path) -> bytes:
    try:
        return str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ModelLoadError(
            "llama.cpp cannot open a path that is not valid UTF-8", hint="rename the file or its directory"
        ) from None
