"""What encodes the weights: our own driver, or llama.cpp's quantizer. The bytes are the same."""

from enum import StrEnum

from localllm.errors import UsageError


class QuantizationEngine(StrEnum):
    """The drivers, as users type them."""

    LOCALLLM = "localllm"
    LLAMA_CPP = "llama.cpp"


def parse_engine(text: str) -> QuantizationEngine:
    """Return the engine of a name. Raise UsageError for another."""
    try:
        return QuantizationEngine(text)
    except ValueError:
        raise UsageError(
            f"`{text}` is not what quantizes", hint=f"one of {', '.join(QuantizationEngine)}"
        ) from None
