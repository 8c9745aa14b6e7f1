"""The context an engine works in: which tokens its cache holds, and how it is made anew to be larger.

The cache is kept between answers: a conversation that grows is not read again, only what is new since the
longest common beginning. Models with a state in place of a cache, or with layers that see a window only,
cannot always go back; then everything is read again, which is slow but right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from localllm.errors import GenerationError, ModelLoadError
from localllm.native.adapter import Adapters
from localllm.native.context import Context, InterruptedDecodeError
from localllm.native.model import Model
from localllm.native.state import read_sequence, write_sequence

BATCH_TOKENS = 512
_FEWEST_TOKENS = 64
# llama.cpp can be stopped between the operations of a batch, so none may take longer than this
_LONGEST_OPERATION_SECONDS = 0.4
_LARGE_MODEL = 8 * 10**9  # weights: of these nobody knows before the first batch how slow they are


@dataclass(frozen=True)
class Shape:
    """What a context is made with; `size` in tokens, shared by `sequences`."""

    size: int
    threads: int
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attention: str = "auto"
    sequences: int = 1


class Workspace:
    """A context of `model` and the tokens that sequence 0 of it holds. Close it before the model.

    `largest_share` is what the largest operation takes of all the work, `weights` how many there are.
    """

    def __init__(
        self,
        model: Model,
        shape: Shape,
        adapters: Adapters,
        *,
        weights: int = 0,
        largest_share: float = 0.0,
    ) -> None:
        self._model = model
        self._adapters = adapters
        self._largest_share = largest_share
        self._batch_tokens = BATCH_TOKENS if weights < _LARGE_MODEL else BATCH_TOKENS // 4
        self.tokens: list[int] = []
        self.shape = shape
        self.context = self._make(shape)

    @property
    def size(self) -> int:
        """Return how many tokens fit."""
        return self.context.size

    def close(self) -> None:
        """Free the context."""
        self.context.close()

    def read(self, prompt: Sequence[int], is_interrupted: Callable[[], bool]) -> int:
        """Bring the cache to hold exactly `prompt`, with the logits of its last token.

        Return how many tokens it already had. Raise InterruptedDecodeError or GenerationError; the cache then
        holds a beginning of the prompt.
        """
        known = self._go_back_to(common_length(self.tokens, prompt[:-1]))
        while len(self.tokens) < len(prompt):
            if is_interrupted():
                raise InterruptedDecodeError
            start = len(self.tokens)
            batch = prompt[start : start + self._batch_tokens]
            began = time.perf_counter()
            with _Repairing(self):
                self.context.decode(batch, start=start)
            self.tokens += batch
            self._pace(len(batch), time.perf_counter() - began)
        return known

    def _pace(self, tokens: int, seconds: float) -> None:
        """Make the batches as large as they may be for Ctrl-C to work soon."""
        if tokens < self._batch_tokens:
            return
        operation = seconds * self._largest_share
        if operation > _LONGEST_OPERATION_SECONDS:
            self._batch_tokens = max(_FEWEST_TOKENS, self._batch_tokens // 2)
        elif operation < _LONGEST_OPERATION_SECONDS / 4:
            self._batch_tokens = min(BATCH_TOKENS, self._batch_tokens * 2)

    def step(self, steps: Sequence[tuple[int, int, int]]) -> None:
        """Decode a token each of several sequences: (token, position, sequence); sequence 0 is remembered."""
        with _Repairing(self):
            self.context.decode_each(steps)
        self.tokens += [token for token, _, sequence in steps if sequence == 0]

    def fan_out(self, count: int) -> None:
        """Give sequences 1 to `count` - 1 what sequence 0 holds; `require_sequences` made room for them."""
        for sequence in range(1, count):
            self.context.copy_sequence(0, sequence)

    def fan_in(self) -> None:
        """Forget all sequences but the first."""
        if self.shape.sequences > 1 and self.context.is_open:
            self.context.keep_only(0)

    def require_sequences(self, count: int) -> None:
        """Make the context anew when it has room for fewer sequences; what it holds stays."""
        if count > self.shape.sequences:
            self._remake(replace(self.shape, sequences=count))

    def resize(self, size: int) -> None:
        """Make the context anew with room for `size` tokens; what it holds stays.

        Raise ModelLoadError when that cannot be had; the context is then as before.
        """
        self._remake(replace(self.shape, size=size))

    def clear(self) -> None:
        """Forget everything."""
        self.context.clear()
        self.tokens = []

    def repair(self) -> None:
        """Find out what the cache holds after decoding was stopped or failed, and remember only that."""
        if self._model.is_recurrent:
            self.clear()  # the state was being changed
            return
        first, last = self.context.held_positions()
        kept = min(len(self.tokens), last + 1)
        if first < 0 or not self.context.forget_from(kept):
            self.clear()
        del self.tokens[kept:]

    def _go_back_to(self, length: int) -> int:
        """Forget all but the first `length` tokens, or everything; return how many are left."""
        if length == len(self.tokens):
            return length
        if not self._can_go_back_to(length) or not self.context.forget_from(length):
            self.clear()
            return 0
        del self.tokens[length:]
        return length

    def _can_go_back_to(self, length: int) -> bool:
        """Tell whether what the next token looks back at is still there."""
        if self._model.is_recurrent:
            return False
        first, _ = self.context.held_positions()
        return first <= max(0, length - self._model.window) if self._model.window else True

    def _make(self, shape: Shape) -> Context:
        context = Context(
            self._model,
            context_size=shape.size,
            threads=shape.threads,
            batch_size=min(BATCH_TOKENS, shape.size),
            sequences=shape.sequences,
            shared=shape.sequences > 1,
            cache_type_k=shape.cache_type_k,
            cache_type_v=shape.cache_type_v,
            flash_attention=shape.flash_attention,
            window_only=True,
        )
        try:
            self._adapters.apply_to(context)
        except BaseException:
            context.close()
            raise
        return context

    def _remake(self, shape: Shape) -> None:
        """Replace the context by one of another shape; the old one goes first, so that both need not fit."""
        state = read_sequence(self.context) if self.tokens else None
        before = self.shape
        self.context.close()
        try:
            self.context = self._make(shape)
            self.shape = shape
        except ModelLoadError:
            self.context = self._make(before)
            raise
        finally:
            if state is not None and not write_sequence(self.context, state):
                self.tokens = []  # they are read again


class _Repairing:
    """Sets the workspace right when decoding does not come to its end."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, InterruptedDecodeError | GenerationError):
            self._workspace.repair()


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    low, high = 0, min(len(left), len(right)) + 1
    while high - low > 1:  # they agree up to `low` and not up to `high`, by halves rather than one by one
        middle = (low + high) // 2
        if list(left[low:middle]) == list(right[low:middle]):
            low = middle
        else:
            high = middle
    return low
