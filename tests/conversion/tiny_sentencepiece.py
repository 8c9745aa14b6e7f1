"""A tiny SentencePiece tokenizer.model, written byte by byte: its format is a protobuf message.

Field numbers are those of sentencepiece_model.proto.
"""

from __future__ import annotations

import struct

UNKNOWN, BOS, EOS = 0, 1, 2
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_WORDS = (
    "\u2581",
    "e",
    "t",
    "h",
    "a",
    "n",
    "d",
    "th",
    "the",
    "\u2581the",
    "an",
    "and",
    "\u2581and",
    "ea",
    "\u2581a",
)


def tiny_sentencepiece(*, adds_space: bool = True) -> bytes:
    """Return a BPE model of 274 pieces with byte fallback."""
    pieces = [("<unk>", 0.0, _UNKNOWN), ("<s>", 0.0, _CONTROL), ("</s>", 0.0, _CONTROL)]
    pieces += [(f"<0x{byte:02X}>", 0.0, _BYTE) for byte in range(256)]
    pieces += [(text, -float(rank), _NORMAL) for rank, text in enumerate(_WORDS)]
    trainer = (
        _number(3, 2)  # model_type BPE
        + _number(35, 1)  # byte_fallback
        + _number(40, UNKNOWN)
        + _number(41, BOS)
        + _number(42, EOS)
        + _number(43, 2**64 - 1)  # no padding
    )
    normalizer = _bytes(1, b"identity") + _number(3, int(adds_space)) + _number(4, 0) + _number(5, 1)
    encoded = b"".join(_bytes(1, _piece(*piece)) for piece in pieces)
    return encoded + _bytes(2, trainer) + _bytes(3, normalizer)


def _piece(text: str, score: float, kind: int) -> bytes:
    return _bytes(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score) + _number(3, kind)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
