"""The generator of a process and the use cases around it, wired."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from cognate.metrics import GenerationMetrics
from cognate.settings import Settings
from core.errors import EncoderMismatch
from core.generating import GenerationService, GeneratorSource
from core.generation_types import GeneratorInfo
from core.memory import return_freed_memory
from core.ports.models import Encoder
from core.query_rewrites import GeneratedRewrites
from core.reasons import ReasonService
from core.rewrite import RewriteService
from encoder.generators import RunningGenerator, describe_generator, open_generator
from encoder.service import EncoderService
from indexer.chunking import sentence_starts


class FolderGenerator:
    """Implements core.generating.GeneratorSource for a model folder (None: the shipped one).

    Raises CheckpointError for a bad folder, EncoderMismatch for a generator of another encoder.
    """

    def __init__(self, folder: Path | None, encoder: EncoderService) -> None:
        self._folder, self._encoder = folder, encoder
        self._loaded: RunningGenerator | None = None

    def info(self) -> GeneratorInfo:
        info = describe_generator(self._folder)
        return_freed_memory()
        if info.encoder_fingerprint not in ("", self._encoder.info.fingerprint):  # "": it reads none's states
            raise EncoderMismatch(
                f"The generator {info.id} reads the states of another encoder than {self._encoder.info.id},"
                " which this server runs. Name one trained on it with COGNATE_GENERATOR_PATH."
            )
        return info

    def load(self) -> RunningGenerator:
        self._loaded = open_generator(self._folder, self._encoder)
        return self._loaded

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.close()


@dataclass(frozen=True, slots=True)
class Generating:
    generation: GenerationService
    rewrite: RewriteService
    reasons: ReasonService
    query_rewrites: GeneratedRewrites


def generator_of(settings: Settings, encoder: Encoder, stack: ExitStack) -> GeneratorSource | None:
    """The generator of the settings, if the encoder tells its states; ended with the stack."""
    if not isinstance(encoder, EncoderService):
        return None
    source = FolderGenerator(settings.generator_path, encoder)
    stack.callback(source.close)
    return source


def make_generating(
    settings: Settings, encoder: Encoder, registry: CollectorRegistry, source: GeneratorSource | None
) -> Generating:
    """Nothing is loaded before it is used."""
    meter = GenerationMetrics(registry)
    generation = GenerationService(source, meter, settings.max_waiting_generations)
    rewrite = RewriteService(generation, encoder, sentence_starts)
    reasons = ReasonService(generation, encoder, sentence_starts)
    return Generating(generation, rewrite, reasons, GeneratedRewrites(rewrite))
