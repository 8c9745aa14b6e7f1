"""Takes a valid GGUF file apart and damages it, at random but reproducibly: one number is one file.

`mutation(sample, seed, index)` is always the same bytes, so that what a campaign finds can be named.
"""

from __future__ import annotations

import importlib.util
import math
import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import gguf

from localllm.gguf_file import read_header
from localllm.gguf_file.format import SCALAR_FORMATS, TENSOR_TYPES, Key, TensorType, ValueType
from tests.gguf_file.raw import raw_string, tensor

EXTREMES = (
    *(0, 1, 2, 3, 7, 8, 13, 255, 256, 511, 512, 513, 1024, 1025, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1),
)
FLOATS = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
_PREAMBLE = 24
_MOST_DATA = 2**22


@dataclass(frozen=True)
class Sample:
    """A valid file in pieces: encoded pairs, encoded tensor entries, and the data behind them."""

    pairs: tuple[bytes, ...]
    tensors: tuple[bytes, ...]
    data: bytes
    alignment: int = 32

    def assemble(
        self, pairs: list[bytes] | None = None, tensors: list[bytes] | None = None, *, with_data: bool = True
    ) -> bytes:
        """Return a file of these or other pairs and entries, with counts that are right."""
        pairs = list(self.pairs) if pairs is None else pairs
        tensors = list(self.tensors) if tensors is None else tensors
        header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join([*pairs, *tensors])
        return header + bytes(-len(header) % self.alignment) + (self.data if with_data else b"")

    @cached_property
    def architecture(self) -> str:
        key = raw_string(Key.ARCHITECTURE.encode())
        value = next(_split(pair)[1] for pair in self.pairs if pair.startswith(key))
        return value[12:].decode()

    @cached_property
    def header(self) -> bytes:
        return self.assemble(with_data=False)

    @cached_property
    def numbers(self) -> list[tuple[int, str]]:
        """Return where the header's counts, lengths, types and values lie, each with its struct format."""
        found = [(4, "I"), (8, "Q"), (16, "Q")]
        position = _PREAMBLE
        for pair in self.pairs:
            found += [(position + offset, layout) for offset, layout in _numbers_of_pair(pair)]
            position += len(pair)
        for entry in self.tensors:
            found += [(position + offset, layout) for offset, layout in _numbers_of_tensor(entry)]
            position += len(entry)
        return found


def take_apart(path: Path) -> Sample:
    """Return the pieces of the valid file at `path`."""
    header = read_header(path)
    pairs = [raw_string(key.encode()) + bytes(value.data) for key, value in header.encoded.items()]
    entries = [tensor(t.name.encode(), t.shape, t.type.id, t.offset) for t in header.tensors]
    data = path.read_bytes()[header.data_offset :]
    return Sample(tuple(pairs), tuple(entries), data, header.alignment)


def mutation(sample: Sample, seed: int, index: int, *, meaningful: bool = False) -> tuple[str, bytes]:
    """Return one damaged copy of `sample` and how it was damaged.

    A `meaningful` one is whole as a file, and says something else.
    """
    generator = random.Random(seed * 1_000_003 + index)
    kind = generator.choice(MEANINGFUL if meaningful else KINDS)
    return kind.__name__, kind(sample, generator)


def flip(sample: Sample, generator: random.Random) -> bytes:
    """Change one to four bytes of the header."""
    changed = bytearray(sample.header)
    for _ in range(generator.randint(1, 4)):
        position = _somewhere(sample, generator)
        new = (0, 1, 0xFF, changed[position] ^ 1 << generator.randrange(8), generator.randrange(256))
        changed[position] = generator.choice(new)
    return bytes(changed) + sample.data


def splice(sample: Sample, generator: random.Random) -> bytes:
    """Insert, remove or overwrite a piece of the header."""
    header = sample.header
    start, source = _somewhere(sample, generator), _somewhere(sample, generator)
    length = generator.choice((1, 2, 4, 8, 16, generator.randint(1, 200)))
    piece = header[source : source + length]
    removed = generator.choice((0, length))
    inserted = generator.choice((b"", piece)) if removed else piece
    return header[:start] + inserted + header[start + removed :] + sample.data


def truncate(sample: Sample, generator: random.Random) -> bytes:
    """End the file inside the header or the data."""
    whole = sample.header + sample.data
    end = generator.choice((_somewhere(sample, generator), generator.randrange(len(whole))))
    return whole[:end]


def edit_number(sample: Sample, generator: random.Random) -> bytes:
    """Put extreme values into one or two counts, lengths, types or values."""
    changed = bytearray(sample.header)
    for _ in range(generator.randint(1, 2)):
        position, layout = generator.choice(sample.numbers)
        _edit(changed, position, layout, generator)
    return bytes(changed) + sample.data


def duplicate(sample: Sample, generator: random.Random) -> bytes:
    """Repeat a pair or a tensor entry."""
    pairs, tensors = list(sample.pairs), list(sample.tensors)
    pieces = generator.choice([some for some in (pairs, tensors) if some])
    pieces.insert(generator.randint(0, len(pieces)), generator.choice(pieces))
    return sample.assemble(pairs, tensors)


def swap(sample: Sample, generator: random.Random) -> bytes:
    """Exchange two pairs, two tensor entries, or the values of two pairs."""
    pairs, tensors = list(sample.pairs), list(sample.tensors)
    kind = generator.choice(("pairs", "tensors", "values"))
    pieces = tensors if kind == "tensors" and len(tensors) > 1 else pairs
    first, second = generator.sample(range(len(pieces)), 2)
    if kind == "values":
        (one, value), (other, value2) = _split(pairs[first]), _split(pairs[second])
        pairs[first], pairs[second] = one + value2, other + value
    else:
        pieces[first], pieces[second] = pieces[second], pieces[first]
    return sample.assemble(pairs, tensors)


def drop(sample: Sample, generator: random.Random) -> bytes:
    """Leave out a pair or a tensor entry."""
    pairs, tensors = list(sample.pairs), list(sample.tensors)
    pieces = generator.choice([some for some in (pairs, tensors) if some])
    del pieces[generator.randrange(len(pieces))]
    return sample.assemble(pairs, tensors)


def set_value(sample: Sample, generator: random.Random) -> bytes:
    """Give one or two keys another value, often of another type."""
    pairs = list(sample.pairs)
    for _ in range(generator.randint(1, 2)):
        index = generator.randrange(len(pairs))
        pairs[index] = _split(pairs[index])[0] + _some_value(generator)
    return sample.assemble(pairs)


def add_key(sample: Sample, generator: random.Random) -> bytes:
    """Add one to three keys that llama.cpp knows and the file lacks."""
    architecture, present = sample.architecture, {_split(pair)[0] for pair in sample.pairs}
    pairs = list(sample.pairs)
    for key in generator.sample(known_keys(), generator.randint(1, 3)):
        encoded = raw_string(key.replace("{arch}", architecture).encode())
        if encoded not in present:
            pairs.append(encoded + _some_value(generator))
    return sample.assemble(pairs)


def change_architecture(sample: Sample, generator: random.Random) -> bytes:
    """Claim another architecture, with all the keys of it."""
    old, new = sample.architecture, generator.choice(list(gguf.MODEL_ARCH_NAMES.values()))
    pairs = []
    for pair in sample.pairs:
        key, value = _split(pair)
        name = key[8:].decode()
        if name == Key.ARCHITECTURE:
            value = _text_value(new.encode())
        elif name.startswith(f"{old}."):
            key = raw_string((new + name.removeprefix(old)).encode())
        pairs.append(key + value)
    return add_key(replace(sample, pairs=tuple(pairs)), generator)


def change_tensor(sample: Sample, generator: random.Random) -> bytes:
    """Give one or two tensors another type, shape or name; offsets and the size of the data stay right."""
    infos = [list(_split_tensor(entry)) for entry in sample.tensors]
    for _ in range(generator.randint(1, 2)):
        info = generator.choice(infos)
        what = generator.choice(("type", "type", "shape", "name"))
        if what == "type":
            info[2] = generator.choice(
                [kind for kind in TENSOR_TYPES.values() if not info[1][0] % kind.block_size]
            )
        elif what == "shape":
            info[1] = _another_shape(info[1], generator)
            info[2] = info[2] if not info[1][0] % info[2].block_size else TENSOR_TYPES[0]
        else:
            info[0] = _another_name(info[0], [other[0] for other in infos], generator)
    entries, offset = [], 0
    for name, shape, kind in infos:
        entries.append(tensor(name, shape, kind.id, offset))
        size = kind.row_bytes(shape[0]) * math.prod(shape[1:])
        offset += size + -size % sample.alignment
    data = sample.data * (min(offset, _MOST_DATA) // max(1, len(sample.data)) + 1)
    return sample.assemble(tensors=entries)[: -len(sample.data)] + data[: min(offset, _MOST_DATA)]


Mutator = Callable[[Sample, random.Random], bytes]
KINDS: tuple[Mutator, ...] = (
    *(flip, flip, splice, splice, truncate, edit_number, edit_number, edit_number),
    *(duplicate, swap, swap, drop),
)
MEANINGFUL: tuple[Mutator, ...] = (
    *(edit_number, set_value, set_value, add_key, add_key, change_architecture, change_tensor, change_tensor),
    *(swap, drop),
)


@cache
def known_keys() -> list[str]:
    """Return the keys llama.cpp looks for, as they stand in its library; `{arch}` is the architecture."""
    package = importlib.util.find_spec("llama_cpp")
    assert package is not None
    library = min((Path(str(package.origin)).parent / "lib").glob("*llama.[sd]*"))
    found = re.findall(rb"\0((?:%s|tokenizer\.ggml|general|split)\.[a-z0-9_.]+)(?=\0)", library.read_bytes())
    return sorted({key.decode().replace("%s", "{arch}") for key in found})


def _some_value(generator: random.Random) -> bytes:
    """Return a value, with its type: mostly a small number, as hyperparameters are."""
    kind = generator.choice((*[ValueType.UINT32] * 6, *[ValueType.FLOAT32] * 3, *ValueType))
    if kind is ValueType.STRING:
        return _text_value(generator.choice((b"", b"\xff\xfe", b"none", b"yarn", b"llama", b"x" * 300)))
    if kind is not ValueType.ARRAY:
        return struct.pack("<I", kind) + _scalar(kind, generator)
    item = generator.choice((ValueType.UINT32, ValueType.INT32, ValueType.FLOAT32, ValueType.BOOL))
    count = generator.choice((0, 1, 2, 3, 4, 7, 8, 512, 513))
    items = b"".join(_scalar(item, generator) for _ in range(count))
    return struct.pack("<IIQ", ValueType.ARRAY, item, count) + items


def _scalar(kind: ValueType, generator: random.Random) -> bytes:
    layout, size = SCALAR_FORMATS[kind]
    if layout in "fd":
        return struct.pack(f"<{layout}", generator.choice((*FLOATS, 1.0, 0.5, 1e-5, 10000.0)))
    if layout == "?":
        return generator.choice((b"\0", b"\1"))
    number = generator.choice((*range(10), 16, 20, 24, 32, 48, 64, 96, 128, *EXTREMES))
    return (number % 256**size).to_bytes(size, "little")


def _text_value(text: bytes) -> bytes:
    return struct.pack("<I", ValueType.STRING) + raw_string(text)


def _split_tensor(entry: bytes) -> tuple[bytes, tuple[int, ...], TensorType]:
    """Return the name, shape and type of an encoded tensor entry."""
    start = 8 + int.from_bytes(entry[:8], "little")
    dimensions = int.from_bytes(entry[start : start + 4], "little")
    shape = struct.unpack_from(f"<{dimensions}Q", entry, start + 4)
    return entry[8:start], shape, TENSOR_TYPES[int.from_bytes(entry[-12:-8], "little")]


def _another_shape(shape: tuple[int, ...], generator: random.Random) -> tuple[int, ...]:
    choices = (
        shape[::-1],
        (*shape, 1),
        (*shape[:-1], shape[-1] * 2),
        (*shape[:-1], max(1, shape[-1] // 2)),
        (*shape[:-1], shape[-1] + 1),
        (*shape[:-1], 0),
        (math.prod(shape),),
        (1, math.prod(shape)),
        (shape[0],),
    )
    return generator.choice([other for other in choices if len(other) <= 4])


def _another_name(name: bytes, others: list[bytes], generator: random.Random) -> bytes:
    suffix = name.rpartition(b".")[2]
    choices = (
        name.replace(b".weight", b".bias"),
        name.replace(b"blk.0", b"blk.7"),
        name + b"x",
        b"rope_freqs.weight",
        b"output.bias",
        b"blk.0.attn_q_norm." + suffix,
        b"blk.0.ffn_gate_inp." + suffix,
        b"token_types." + suffix,
    )
    return generator.choice([choice for choice in choices if choice not in others] or [name])


def _somewhere(sample: Sample, generator: random.Random) -> int:
    """Return a position in the header; half of them where a number lies, or the long lists would get most."""
    if generator.random() < 0.5:
        position, layout = generator.choice(sample.numbers)
        return position + generator.randrange(struct.calcsize(layout))
    return generator.randrange(len(sample.header))


def _edit(changed: bytearray, position: int, layout: str, generator: random.Random) -> None:
    size = struct.calcsize(f"<{layout}")
    if layout in "fd":
        struct.pack_into(f"<{layout}", changed, position, generator.choice(FLOATS))
        return
    old = int.from_bytes(changed[position : position + size], "little")
    new = generator.choice((*EXTREMES, old - 1, old + 1, old * 2, old // 2))
    changed[position : position + size] = (new % 256**size).to_bytes(size, "little")


def _split(pair: bytes) -> tuple[bytes, bytes]:
    """Return the key and the value of an encoded pair."""
    end = 8 + int.from_bytes(pair[:8], "little")
    return pair[:end], pair[end:]


def _numbers_of_pair(pair: bytes) -> list[tuple[int, str]]:
    start = 8 + int.from_bytes(pair[:8], "little")
    found = [(0, "Q"), (start, "I")]
    kind = ValueType(int.from_bytes(pair[start : start + 4], "little"))
    if kind is ValueType.STRING:
        return [*found, (start + 4, "Q")]
    if kind is not ValueType.ARRAY:
        return [*found, (start + 4, SCALAR_FORMATS[kind][0])]
    item, count = struct.unpack_from("<IQ", pair, start + 4)
    found += [(start + 4, "I"), (start + 8, "Q")]
    if count:
        layout = "Q" if item == ValueType.STRING else SCALAR_FORMATS[ValueType(item)][0]
        found.append((start + 16, layout))
    return found


def _numbers_of_tensor(entry: bytes) -> list[tuple[int, str]]:
    start = 8 + int.from_bytes(entry[:8], "little")
    dimensions = int.from_bytes(entry[start : start + 4], "little")
    sizes = [(start + 4 + 8 * index, "Q") for index in range(dimensions)]
    after = start + 4 + 8 * dimensions
    return [(0, "Q"), (start, "I"), *sizes, (after, "I"), (after + 4, "Q")]
