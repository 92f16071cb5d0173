"""Which vector reader a server has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cognate.grouping import open_vector_reader
from core.errors import StartRefused
from core.types import EncoderInfo, PassageText
from encoder.service import load_encoder, shipped_model
from encoder.vector_reading import VectorReaderFolder, shipped_vector_reader
from tests.fakes import FAKE_INFO, FakeEncoder


def encoder_of_the_shipped_reader() -> FakeEncoder:
    read = VectorReaderFolder(shipped_vector_reader()).info.encoder_fingerprint
    info: EncoderInfo = replace(FAKE_INFO, fingerprint=read)
    return FakeEncoder(info=info)


def test_the_shipped_reader_is_used_beside_its_own_encoder_alone() -> None:
    reader = open_vector_reader(encoder_of_the_shipped_reader(), None)
    assert reader is not None
    assert reader.info.id == "cognate-vector-reader"
    assert open_vector_reader(FakeEncoder(), None) is None


def test_a_named_reader_of_another_encoder_is_refused() -> None:
    path = shipped_vector_reader()
    assert open_vector_reader(encoder_of_the_shipped_reader(), path) is not None
    with pytest.raises(StartRefused, match="another encoder than 'fake'"):
        open_vector_reader(FakeEncoder(), path)


@pytest.mark.integration
def test_what_the_shipped_reader_writes_is_nearer_than_what_it_writes_for_others() -> None:
    """Far below the similarities on its card, which are of many texts."""
    texts = ["Where is the train station?", "software engineer", "Which country won the war?", "I like cats."]
    encoder = load_encoder(shipped_model(), threads=1)
    try:
        reader = open_vector_reader(encoder, None)
        assert reader is not None  # so it was trained for the encoder that is shipped
        vectors = encoder.encode_passages([PassageText("", text) for text in texts])
        read = [one.text for one in reader.read(vectors, 16)]
        again = encoder.encode_passages([PassageText("", text) for text in read])
    finally:
        encoder.close()
    near = vectors @ again.T  # (given, read)
    assert (near.argmax(axis=1) == np.arange(len(texts))).all(), (read, near)
