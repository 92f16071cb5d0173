"""Which generator a folder holds: one of ours on OpenVINO, or a public model on torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.errors import CheckpointError, StartRefused
from core.generation_types import GeneratorInfo
from core.ports.generation import Generator
from encoder.checkpoint import CONFIG
from encoder.generator import GeneratorLimits, load_generator, read_generator_info
from encoder.generator_config import MODEL_TYPE
from encoder.json_files import read_json
from encoder.service import EncoderService

if TYPE_CHECKING:
    from encoder.public.generator import PublicGenerator


class RunningGenerator(Generator, Protocol):
    """A generator that holds a thread until it is closed."""

    def close(self) -> None: ...


def open_generator(
    folder: Path | None, encoder: EncoderService, threads: int = 1, limits: GeneratorLimits | None = None
) -> RunningGenerator:
    """A folder of ours (None: the shipped one) reads the states of `encoder`; a public one reads texts alone.

    Raises what `load_generator` raises, and StartRefused for a public folder without torch.
    """
    if folder is not None and is_public(folder):
        return _open_public(folder, threads, limits)
    return load_generator(folder, encoder, threads=threads, limits=limits)


def describe_generator(folder: Path | None = None) -> GeneratorInfo:
    """What the generator of a folder (None: the shipped one) says of itself. Raises CheckpointError."""
    if folder is None or not is_public(folder):
        return read_generator_info(folder)
    generator = _open_public(folder, 0, None)
    try:
        return generator.info
    finally:
        generator.close()


def is_public(folder: Path) -> bool:
    """Whether the folder holds another kind of model than ours. Raises CheckpointError without a config."""
    if not folder.is_dir():
        raise CheckpointError(f"The model folder {folder} does not exist.")
    return bool(read_json(folder / CONFIG).get("model_type") != MODEL_TYPE)


def _open_public(folder: Path, threads: int, limits: GeneratorLimits | None) -> PublicGenerator:
    try:
        from encoder.public.generator import (
            load_public_generator,
        )  # torch is optional: only its users import it
    except ModuleNotFoundError as error:
        raise StartRefused(f"{folder} needs torch ({error}): install 'cognate[torch]'.") from error
    return load_public_generator(folder, threads, limits)
