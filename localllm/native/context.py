"""An inference context: decodes tokens, keeps the attention cache, hands out logits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from localllm.errors import GenerationError, ModelLoadError
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.native import logs
from localllm.native.library import llama
from localllm.native.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ABORTED = 2
_NO_SPACE = 1
_NO_FLASH_ATTENTION = 0  # LLAMA_FLASH_ATTN_TYPE_DISABLED


class InterruptedDecodeError(Exception):
    """Decoding was stopped by `Context.interrupt`. The cache is as it was before the call."""


def _read_flag(flag_address: int) -> bool:
    """Tell llama.cpp whether to stop: reads the context's flag; never raises."""
    return bool(ctypes.c_bool.from_address(flag_address).value)


_ABORT_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(_read_flag)


class Context:
    """One context of `model`; a cache position holds one token of one sequence.

    `context_size` is in tokens, over all `sequences`; `batch_size` the most tokens per decode call;
    with `exact` attention is computed and its cache kept in float32, which costs time and memory.
    `eval_callback` is called for every node of the graph, before and after it is computed.
    """

    def __init__(
        self,
        model: Model,
        *,
        context_size: int,
        threads: int,
        batch_size: int = 2048,
        sequences: int = 1,
        exact: bool = False,
        eval_callback: Any = None,
    ) -> None:
        library = llama()
        params = library.llama_context_default_params()
        params.n_ctx = context_size
        params.n_batch = batch_size
        params.n_ubatch = min(batch_size, 512)
        params.n_seq_max = sequences
        params.n_threads = threads
        params.n_threads_batch = threads
        if exact:
            params.type_k = params.type_v = TENSOR_TYPES_BY_NAME["F32"].id
            params.flash_attn_type = _NO_FLASH_ATTENTION
        if eval_callback is not None:
            params.cb_eval = eval_callback
        params.no_perf = True
        self._library = library
        self._handle: Any = library.llama_init_from_model(model.handle, params)
        if not self._handle:
            reason = next(iter(logs.last_errors()), "no reason given")
            raise ModelLoadError(
                f"llama.cpp cannot make a context of {context_size} tokens: {reason}",
                hint="choose a smaller `--context`",
            )
        self._memory = library.llama_get_memory(self._handle)
        self._batch = library.llama_batch_init(batch_size, 0, 1)
        self._stop = ctypes.c_bool(False)
        library.llama_set_abort_callback(self._handle, _ABORT_CALLBACK, ctypes.addressof(self._stop))
        self.size = int(library.llama_n_ctx(self._handle))
        self.batch_size = batch_size
        self._vocabulary_size = model.vocabulary_size

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the context."""
        if self._handle:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self._handle)
            self._handle = None

    @property
    def handle(self) -> Any:
        """Return the C pointer, for the other modules of this package."""
        return self._handle

    def interrupt(self) -> None:
        """Stop a running `decode` soon; safe from signal handlers and other threads."""
        self._stop.value = True

    def decode(
        self, tokens: Sequence[int], *, start: int, sequence: int = 0, logits_from: int | None = None
    ) -> None:
        """Run `tokens` at positions start, start + 1, ... of `sequence`, in batches.

        Logits are kept for the last token, or for all tokens from index `logits_from` on (then all
        tokens must fit into one batch). Raise InterruptedDecodeError when stopped, GenerationError when the
        cache is full.
        """
        if logits_from is not None and len(tokens) > self.batch_size:
            raise ValueError("logits for several tokens need one batch")
        for offset in range(0, len(tokens), self.batch_size):
            chunk = tokens[offset : offset + self.batch_size]
            is_last = offset + len(chunk) == len(tokens)
            first = logits_from if logits_from is not None else len(chunk) - 1 if is_last else len(chunk)
            self._fill(chunk, start + offset, sequence, first)
            self._run()

    def decode_together(self, sequences: Sequence[Sequence[int]], *, start: int) -> None:
        """Run the tokens of sequence 0, 1, ... in one batch, each from position `start` on; keep all logits.

        Raise ValueError when they do not fit into one batch, otherwise as `decode`.
        """
        if sum(map(len, sequences)) > self.batch_size:
            raise ValueError("all sequences need to fit into one batch")
        filled = 0
        for sequence, tokens in enumerate(sequences):
            self._fill(tokens, start, sequence, 0, filled)
            filled += len(tokens)
        self._run()

    def kept_logits(self, count: int) -> NDArray[np.float32]:
        """Return all kept logits, shape (count, vocabulary): a view until the next decode."""
        import numpy as np

        pointer = self._library.llama_get_logits(self._handle)
        return np.ctypeslib.as_array(pointer, shape=(count, self._vocabulary_size))

    def synchronize(self) -> None:
        """Wait until everything decoded so far is computed."""
        self._library.llama_synchronize(self._handle)

    def clear(self) -> None:
        """Forget all tokens of all sequences."""
        self._library.llama_memory_clear(self._memory, True)

    def forget_from(self, position: int, sequence: int = 0) -> bool:
        """Forget `sequence` from `position` on. Return False where the model cannot (recurrent ones)."""
        return bool(self._library.llama_memory_seq_rm(self._memory, sequence, position, -1))

    def _fill(
        self, tokens: Sequence[int], start: int, sequence: int, logits_from: int, filled: int = 0
    ) -> None:
        """Put `tokens` into the batch behind the `filled` ones that are there."""
        batch = self._batch
        batch.n_tokens = filled + len(tokens)
        for index, token in enumerate(tokens):
            slot = filled + index
            batch.token[slot] = token
            batch.pos[slot] = start + index
            batch.n_seq_id[slot] = 1
            batch.seq_id[slot][0] = sequence
            batch.logits[slot] = index >= logits_from

    def _run(self) -> None:
        self._stop.value = False
        status = self._library.llama_decode(self._handle, self._batch)
        if status == _ABORTED:
            raise InterruptedDecodeError
        if status == _NO_SPACE:
            raise GenerationError("the context is full", hint="start again or choose a larger `--context`")
        if status != 0:
            reason = next(iter(logs.last_errors()), f"status {status}")
            raise GenerationError(f"llama.cpp cannot decode: {reason}")
