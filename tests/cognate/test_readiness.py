"""What readiness warns of: it counts, and names nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from cognate.readiness import warnings
from core.errors import CheckpointError, Unavailable
from core.generating import GenerationService
from core.types import EncoderInfo
from migrations.upgrade import upgrade
from storage.classifiers import SqlClassifierStore
from storage.database import Database
from tests.core.classifier_world import ClassifierWorld
from tests.fakes import (
    DIM,
    FakeEncoder,
    FakeGenerator,
    FakeGeneratorSource,
    RecordingGenerationMeter,
)


class Indexes:
    below = 0

    def below_recall_target(self) -> int:
        return self.below


def test_classifiers_of_another_encoder_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(url := f"sqlite:///{tmp_path / 'cognate.db'}")
    database = Database(url)
    world = ClassifierWorld(database)
    world.train()
    world.train("other")
    indexes = cast(Any, Indexes())
    generation = GenerationService(None, RecordingGenerationMeter())
    foreign = FakeEncoder(info=EncoderInfo("other", "e" * 64, DIM, 256))
    assert warnings(indexes, world.service, world.encoder, generation) == {}
    told = warnings(indexes, world.service, foreign, generation)
    assert told == {"classifiers": "2 classifiers are of another encoder and refused; train them again"}

    def away(store: SqlClassifierStore) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(SqlClassifierStore, "list", away)
    assert warnings(indexes, world.service, foreign, generation) == {}
    indexes.below = 3
    assert list(warnings(indexes, world.service, foreign, generation)) == ["recall"]
    source = FakeGeneratorSource(FakeGenerator(), CheckpointError("the folder /secret is damaged"))
    broken = GenerationService(source, RecordingGenerationMeter())
    told = warnings(indexes, world.service, foreign, broken)
    assert list(told) == ["recall", "generator"]
    assert "secret" not in str(told)
    assert source.loads == 0
    database.close()
