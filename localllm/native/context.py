"""An inference context: decodes tokens, keeps the attention cache, hands out logits."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localllm.errors import GenerationError, ModelLoadError
from localllm.gguf_file.format import TENSOR_TYPES_BY_NAME
from localllm.native import logs
from localllm.native.batch import Batch
from localllm.native.library import llama
from localllm.native.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ABORTED = 2
_NO_SPACE = 1
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}  # LLAMA_FLASH_ATTN_TYPE_*


class InterruptedDecodeError(Exception):
    """Decoding was stopped by `Context.interrupt`.

    The cache holds what it held before, and the batches that were finished; where the model keeps a state
    (`Model.is_recurrent`) that is no longer good for anything.
    """


@dataclass(frozen=True)
class Piece:
    """Tokens of one sequence from position `start` on, for `Context.decode_pieces`.

    Logits are kept from index `logits_from` on; None keeps those of the last token, `len(tokens)` none.
    """

    sequence: int
    start: int
    tokens: Sequence[int]
    logits_from: int | None = None


def _read_flag(flag_address: int) -> bool:
    """Tell llama.cpp whether to stop: reads the context's flag; never raises."""
    return bool(ctypes.c_bool.from_address(flag_address).value)


_ABORT_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(_read_flag)
_NO_CALLBACK = type(_ABORT_CALLBACK)()  # a null pointer
# llama.cpp asks before every operation, which costs as much as three of a hundred small steps; a step that is
# done sooner than this need not be stopped in its middle
_LONG_STEP_SECONDS = 0.2
_FEW_TOKENS = 8


class Context:
    """One context of `model`; a cache position holds one token of one sequence, or of several that share it.

    `context_size` is in tokens, over all `sequences`; `batch_size` the most tokens per decode call; with
    `shared` the sequences may share what they have in common, and each may take all of the room.
    `cache_type_k` and `cache_type_v` are what the attention cache is kept in, `flash_attention` "auto", "on"
    or "off"; with `exact` attention is computed and cached in float32, which costs time and memory. Layers
    with a sliding window keep everything, or with `window_only` no more than the window.
    With `embeddings` the vectors of all tokens are kept, or with a `pooling` (LLAMA_POOLING_TYPE_*) above 0
    one of each sequence of a batch, which is computed in one go then.
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
        shared: bool = False,
        cache_type_k: str = "f16",
        cache_type_v: str = "f16",
        flash_attention: str = "auto",
        exact: bool = False,
        window_only: bool = False,
        embeddings: bool = False,
        pooling: int = 0,
        eval_callback: Any = None,
    ) -> None:
        library = llama()
        params = library.llama_context_default_params()
        params.n_ctx = context_size
        params.n_batch = batch_size
        params.n_ubatch = batch_size if pooling else min(batch_size, 512)
        params.n_seq_max = sequences
        params.n_threads = threads
        params.n_threads_batch = threads
        params.kv_unified = shared
        params.swa_full = not window_only
        if exact:
            cache_type_k, cache_type_v, flash_attention = "f32", "f32", "off"
        params.type_k = TENSOR_TYPES_BY_NAME[cache_type_k.upper()].id
        params.type_v = TENSOR_TYPES_BY_NAME[cache_type_v.upper()].id
        params.flash_attn_type = _FLASH_ATTENTION[flash_attention]
        params.embeddings = embeddings
        if embeddings:
            params.pooling_type = pooling
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
        self._batch = Batch(batch_size)
        self._stop = ctypes.c_bool(False)
        self._can_stop = False
        self._last_seconds = 0.0
        self.size = int(library.llama_n_ctx(self._handle))
        self.batch_size = batch_size
        self._vocabulary_size = model.vocabulary_size
        self._embedding_size = model.embedding_size

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the context."""
        if self._handle:
            self._library.llama_free(self._handle)
            self._handle = None

    @property
    def handle(self) -> Any:
        """Return the C pointer, for the other modules of this package."""
        return self._handle

    @property
    def is_open(self) -> bool:
        """Tell whether the context was not closed yet."""
        return bool(self._handle)

    def interrupt(self) -> None:
        """Stop a running `decode` soon, unless it is short; safe from signal handlers and other threads."""
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
            self._batch.clear()
            self._batch.add(chunk, start=start + offset, sequence=sequence, logits_from=first)
            self._run()

    def decode_together(
        self, sequences: Sequence[Sequence[int]], *, start: int, logits_from: int = 0
    ) -> None:
        """Run the tokens of sequence 0, 1, ... in one batch, each from position `start` on.

        Logits are kept of each sequence from its index `logits_from` on, by default of all tokens, in order.
        Raise ValueError when they do not fit into one batch, otherwise as `decode`.
        """
        if sum(map(len, sequences)) > self.batch_size:
            raise ValueError("all sequences need to fit into one batch")
        self._batch.clear()
        for sequence, tokens in enumerate(sequences):
            self._batch.add(tokens, start=start, sequence=sequence, logits_from=logits_from)
        self._run()

    def decode_each(self, steps: Sequence[tuple[int, int, int]]) -> None:
        """Run a token each of several sequences, as (token, position, sequence); keep their logits in order.

        Raise as `decode`.
        """
        self._batch.clear()
        for token, position, sequence in steps:
            self._batch.add([token], start=position, sequence=sequence, logits_from=0)
        self._run()

    def decode_pieces(self, pieces: Sequence[Piece]) -> bool:
        """Run tokens of several sequences in one batch; `logits_at` then counts all of its tokens.

        Return False, and change nothing, when the cache has no room for them. Raise as `decode`.
        """
        self._batch.clear()
        for piece in pieces:
            first = len(piece.tokens) - 1 if piece.logits_from is None else piece.logits_from
            self._batch.add(
                piece.tokens,
                start=piece.start,
                sequence=piece.sequence,
                logits_from=first,
            )
        status = self._status()
        if status != _NO_SPACE:
            self._require(status)
        return status != _NO_SPACE

    def kept_logits(self, count: int) -> NDArray[np.float32]:
        """Return all kept logits, shape (count, vocabulary): a view until the next decode."""
        import numpy as np

        pointer = self._library.llama_get_logits(self._handle)
        return np.ctypeslib.as_array(pointer, shape=(count, self._vocabulary_size))

    def logits_at(self, index: int) -> NDArray[np.float32]:
        """Return the kept logits number `index` (-1: the last): a view until the next decode."""
        import numpy as np

        pointer = self._library.llama_get_logits_ith(self._handle, index)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary_size,))

    def kept_embeddings(self, count: int) -> NDArray[np.float32]:
        """Return the vectors of all `count` tokens of the last batch: a view until the next decode."""
        import numpy as np

        pointer = self._library.llama_get_embeddings(self._handle)
        return np.ctypeslib.as_array(pointer, shape=(count, self._embedding_size))

    def sequence_embedding(self, sequence: int) -> NDArray[np.float32]:
        """Return the pooled vector of a sequence of the last batch: a view until the next decode."""
        import numpy as np

        pointer = self._library.llama_get_embeddings_seq(self._handle, sequence)
        return np.ctypeslib.as_array(pointer, shape=(self._embedding_size,))

    def synchronize(self) -> None:
        """Wait until everything decoded so far is computed."""
        self._library.llama_synchronize(self._handle)

    def clear(self) -> None:
        """Forget all tokens of all sequences."""
        self._library.llama_memory_clear(self._memory, True)

    def forget_from(self, position: int, sequence: int = 0) -> bool:
        """Forget `sequence` from `position` on. Return False where the model cannot (recurrent ones)."""
        return bool(self._library.llama_memory_seq_rm(self._memory, sequence, position, -1))

    def copy_sequence(self, source: int, target: int, length: int = -1) -> None:
        """Make the `target` sequence hold what `source` holds, or only its first `length` tokens.

        With a shared cache this copies nothing. A part only of what a recurrent model holds cannot be had.
        """
        self._library.llama_memory_seq_cp(self._memory, source, target, -1, length)

    def keep_only(self, sequence: int) -> None:
        """Forget all other sequences."""
        self._library.llama_memory_seq_keep(self._memory, sequence)

    def held_positions(self, sequence: int = 0) -> tuple[int, int]:
        """Return the first and the last position the cache holds of `sequence`, (-1, -1) for none.

        The first is above 0 where layers forget what lies before their window.
        """
        first = self._library.llama_memory_seq_pos_min(self._memory, sequence)
        return int(first), int(self._library.llama_memory_seq_pos_max(self._memory, sequence))

    def _run(self) -> None:
        self._require(self._status())

    def _status(self) -> int:
        """Decode the batch and return what llama.cpp says."""
        self._stop.value = False
        self._let_stop(self._batch.count > _FEW_TOKENS or self._last_seconds > _LONG_STEP_SECONDS)
        started = time.perf_counter()
        status = int(self._library.llama_decode(self._handle, self._batch.structure))
        self._last_seconds = time.perf_counter() - started
        return status

    def _require(self, status: int) -> None:
        """Raise unless the batch was decoded."""
        if status == _ABORTED:
            raise InterruptedDecodeError
        if status == _NO_SPACE:
            raise GenerationError("the context is full", hint="start again or choose a larger `--context`")
        if status != 0:
            reason = next(iter(logs.last_errors()), f"status {status}")
            raise GenerationError(f"llama.cpp cannot decode: {reason}")

    def _let_stop(self, can_stop: bool) -> None:
        """Have llama.cpp ask whether to stop, or not."""
        if can_stop != self._can_stop:
            callback = _ABORT_CALLBACK if can_stop else _NO_CALLBACK
            self._library.llama_set_abort_callback(self._handle, callback, ctypes.addressof(self._stop))
            self._can_stop = can_stop
