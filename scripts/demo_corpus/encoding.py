"""From text to token ids: the tokenizer, encoded samples, and batches of them. Knows nothing of torch."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from demo_corpus import prose
from demo_corpus.conversations import Conversation, draw_conversation

TEXT_END, MESSAGE_START, MESSAGE_END = SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE with the splitting rule of Qwen2 and all 256 bytes in its vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == vocab_size, "the corpus is too small for the vocabulary"
    return tokenizer


def tokenizer_texts(seed: int) -> Iterator[str]:
    """The text the tokenizer is trained on: a sample of what the model will read."""
    rng = random.Random(seed)
    for _ in range(12_000):
        conversation = draw_conversation(rng, memory_share=0.3, most_between=1)
        for turn in conversation.turns:
            yield turn.user
            yield turn.assistant
    for _ in range(1_500):
        yield prose.draw_document(rng, paragraphs=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids and, for each, how much predicting it counts."""

    ids: list[int]
    weights: list[float]


class Encoder:
    """Turns conversations and prose into samples."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.plain = lru_cache(maxsize=4096)(lambda text: tuple(tokenizer.encode(text).ids))

    def conversation(self, conversation: Conversation) -> Sample:
        """Encode a conversation as the chat template writes it; only what the assistant says counts."""
        ids: list[int] = []
        weights: list[float] = []

        def add(text: str, weight: float) -> None:
            new = self.plain(text)
            ids.extend(new)
            weights.extend([weight] * len(new))

        if conversation.system is not None:
            add(f"{MESSAGE_START}system\n{conversation.system}{MESSAGE_END}\n", 0.0)
        for turn in conversation.turns:
            add(f"{MESSAGE_START}user\n{turn.user}{MESSAGE_END}\n{MESSAGE_START}assistant\n", 0.0)
            add(f"{turn.assistant}{MESSAGE_END}", turn.weight)
            add("\n", 0.0)
        return Sample(ids, weights)

    def prose(self, text: str, length: int) -> Sample:
        """Encode plain text, all of which counts, cut to a length."""
        ids = [*self.plain(text), self.tokenizer.token_to_id(TEXT_END)][:length]
        return Sample(ids, [1.0] * len(ids))

    def prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """Encode messages up to where the assistant's answer begins."""
        text = "".join(f"{MESSAGE_START}{m['role']}\n{m['content']}{MESSAGE_END}\n" for m in messages)
        return list(self.tokenizer.encode(f"{text}{MESSAGE_START}assistant\n").ids)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a batch is drawn from at some moment of the training."""

    memory_share: float
    most_between: int
    prose_share: float
    echo_share: float


def schedule(progress: float) -> Mix:
    """Begin with copying and short memory conversations, then go to longer ones and more facts."""
    if progress < 0.25:
        return Mix(memory_share=0.55, most_between=1, prose_share=0.05, echo_share=0.25)
    if progress < 0.6:
        return Mix(memory_share=0.45, most_between=3, prose_share=0.10, echo_share=0.10)
    return Mix(memory_share=0.40, most_between=4, prose_share=0.10, echo_share=0.05)


def batches(draw: Callable[[], Sample], *, tokens: int) -> Iterator[list[Sample]]:
    """Collect samples of like length until they fill a batch of so many tokens, and yield it.

    Lengths are rounded up to a multiple of 32: each new shape costs time to prepare.
    """
    waiting: dict[int, list[Sample]] = {}
    while True:
        sample = draw()
        length = padded_length(len(sample.ids))
        group = waiting.setdefault(length, [])
        group.append(sample)
        if len(group) >= tokens // length:
            yield waiting.pop(length)


def padded_length(length: int) -> int:
    """Round a length up to the next multiple of 32."""
    return -(-length // 32) * 32
