"""Generation as the use cases call it: loaded on first use, few at a time, all counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from core.errors import CognateError, EncoderMismatch, Overloaded, Unavailable
from core.generation_types import (
    FinishReason,
    Generated,
    GenerationOptions,
    GenerationTask,
    GeneratorInfo,
    Piece,
)
from core.metering import GenerationMeter
from core.ports.generation import Generator

log = logging.getLogger(__name__)

MAX_WAITING: Final = 16
FIRST_GUESS_S: Final = 1.0  # that a call takes, before one was measured
LOOK_AGAIN_S: Final = 30.0  # at a generator that could not be used


class GeneratorSource(Protocol):
    """A generator that is not loaded yet. Both raise CognateError, which says what is wrong with it."""

    def info(self) -> GeneratorInfo:
        """Reads the description alone."""
        ...

    def load(self) -> Generator: ...


class GenerationService:
    """The generator of a process. Without a source every call raises Unavailable.

    Memory is taken at the first call. The generator does one call after another; those beyond `max_waiting`
    raise Overloaded at once, so that the threads of the server are never all busy with waiting. Safe to call
    from many threads.
    """

    def __init__(
        self, source: GeneratorSource | None, meter: GenerationMeter, max_waiting: int = MAX_WAITING
    ) -> None:
        self.meter = meter
        self._source = source
        self._max_waiting = max_waiting
        self._places = threading.BoundedSemaphore(max_waiting + 1)
        self._loading = threading.Lock()
        self._describing = threading.Lock()
        self._info: GeneratorInfo | None = None
        self._refused: tuple[float, str] | None = None  # until when, and why
        self._generator: Generator | None = None
        self._call_s = FIRST_GUESS_S

    @property
    def info(self) -> GeneratorInfo:
        """Raises Unavailable when there is no generator, or none that can be used.

        What is wrong is remembered for a while: readiness asks often, and to look reads the whole folder.
        """
        with self._describing:
            if self._info is None:
                self._info = self._described()
            return self._info

    @property
    def problem(self) -> str | None:
        """What is wrong with the generator that the server should have; None where all is well."""
        if self._source is None:
            return None
        try:
            _ = self.info
        except CognateError as error:
            return str(error)
        return None

    @property
    def is_loaded(self) -> bool:
        return self._generator is not None

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._loaded().source_tokens(texts)

    def generate(
        self, task: GenerationTask, sources: Sequence[str], options: GenerationOptions
    ) -> list[list[Generated]]:
        """Like core.ports.generation.Generator. Raises what it does, Overloaded and Unavailable.

        `max_new_tokens` beyond those of the generator are the generator's.
        """
        place = self._place()
        try:
            generator = self._loaded()
            started_s = time.perf_counter()
            found = generator.generate(task, sources, _bounded(options, generator))
        finally:
            place.give_back()
        took_s = place.end_s - started_s
        self._call_s = 0.8 * self._call_s + 0.2 * took_s
        self.meter.generated(task, sum(one.tokens for texts in found for one in texts), took_s)
        return found

    def stream(self, task: GenerationTask, source: str, options: GenerationOptions) -> Stream:
        """Pieces of one text; raises like `generate` before the first piece if it cannot be begun."""
        place = self._place()
        try:
            generator = self._loaded()
            started_s = time.perf_counter()
            pieces = generator.stream(task, source, _bounded(options, generator), place.give_back)
        except BaseException:
            place.give_back()
            raise
        return Stream(self._counted(task, pieces, place, started_s), place)

    def _counted(
        self, task: GenerationTask, pieces: Iterator[Piece], place: _Place, started_s: float
    ) -> Iterator[Piece]:
        """A piece is a token, or a few that make up a character."""
        count = 0
        for piece in pieces:
            count += bool(piece.text)
            yield piece
        self.meter.generated(task, count, place.end_s - started_s)

    def _place(self) -> _Place:
        if not self._places.acquire(blocking=False):
            raise Overloaded(
                f"{self._max_waiting} generations wait already, which is the limit; retry.",
                retry_after_s=max(1.0, self._max_waiting * self._call_s / 2),
            )
        return _Place(self._places)

    def _described(self) -> GeneratorInfo:
        if self._refused is not None and time.monotonic() < self._refused[0]:
            raise Unavailable(self._refused[1])
        try:
            with _told_to_callers():
                return self._known_source().info()
        except Unavailable as error:
            self._refused = (time.monotonic() + LOOK_AGAIN_S, str(error))
            raise

    def _loaded(self) -> Generator:
        if self._generator is None:
            with self._loading:
                if self._generator is None:
                    with _told_to_callers():
                        self._generator = self._known_source().load()
        return self._generator

    def _known_source(self) -> GeneratorSource:
        if self._source is None:
            raise Unavailable("This server has no generator; name a folder with COGNATE_GENERATOR_PATH.")
        return self._source


class _Place:
    """One of the places that were taken of `places`; given back once, by whichever thread is first."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places = places
        self._is_given_back = threading.Lock()  # taken for good by who gives it back
        self._end_s: float | None = None

    @property
    def end_s(self) -> float:
        """When it was given back, now if it was not; of `time.perf_counter`."""
        return time.perf_counter() if self._end_s is None else self._end_s

    def give_back(self) -> None:
        if self._is_given_back.acquire(blocking=False):
            self._end_s = time.perf_counter()
            self._places.release()


class Stream(Iterator[str]):
    """Pieces of a text, none of them empty. Close it if it is left before its end.

    `finish` says why the text ended once all pieces are read; it is None before.
    It keeps its place in the queue until the generator has written the text, however slowly it is read.
    """

    def __init__(self, pieces: Iterator[Piece], place: _Place) -> None:
        self._pieces, self._place = pieces, place
        self.finish: FinishReason | None = None

    def __next__(self) -> str:
        try:
            while True:
                piece = next(self._pieces)
                self.finish = piece.finish
                if piece.text:
                    return piece.text
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """May be called twice."""
        getattr(self._pieces, "close", lambda: None)()
        self._place.give_back()

    def __del__(self) -> None:  # of an answer whose client was gone before it began
        self.close()


def _bounded(options: GenerationOptions, generator: Generator) -> GenerationOptions:
    most = generator.info.max_new_tokens
    return replace(options, max_new_tokens=min(options.max_new_tokens, most))


@contextmanager
def _told_to_callers() -> Iterator[None]:
    """What is wrong with a model folder is for the log; that it does not fit the encoder is for all."""
    try:
        yield
    except (EncoderMismatch, Unavailable) as error:
        raise Unavailable(str(error)) from None
    except CognateError as error:
        log.error("The generator cannot be used: %s", error)
        raise Unavailable("This server's generator cannot be used; its log says why.") from None
