"""Projectors (mmproj): what turns an image or a sound into the input of a language model."""

from __future__ import annotations

from dataclasses import dataclass

from localllm.gguf_file import GGUFHeader


@dataclass(frozen=True)
class Encoder:
    """One half of a projector, for vision or audio; lengths are numbers per patch, sizes are pixels."""

    modality: str
    projector: str = ""
    layers: int | None = None
    embedding_length: int | None = None
    heads: int | None = None
    image_size: int | None = None
    patch_size: int | None = None
    projection_length: int | None = None


def encoders_of(header: GGUFHeader) -> tuple[Encoder, ...]:
    """Return the encoders a projector file holds."""
    found = []
    for modality in ("vision", "audio"):
        prefix = f"clip.{modality}"
        is_there = header.metadata.get(f"clip.has_{modality}_encoder") is True
        if is_there or header.integer(f"{prefix}.block_count") is not None:
            found.append(
                Encoder(
                    modality=modality,
                    projector=header.text(f"{prefix}.projector_type") or header.text("clip.projector_type"),
                    layers=header.integer(f"{prefix}.block_count"),
                    embedding_length=header.integer(f"{prefix}.embedding_length"),
                    heads=header.integer(f"{prefix}.attention.head_count"),
                    image_size=header.integer(f"{prefix}.image_size"),
                    patch_size=header.integer(f"{prefix}.patch_size"),
                    projection_length=header.integer(f"{prefix}.projection_dim"),
                )
            )
    return tuple(found)
