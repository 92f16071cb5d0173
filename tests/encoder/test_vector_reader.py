"""A text from an embedding: what the torch model may see, and that numpy serves the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import CheckpointError, EncoderMismatch, InvalidInput
from core.generation_types import FinishReason
from core.types import Float32, Int64
from encoder.checkpoint import CONFIG, WEIGHTS, write_files
from encoder.generator_config import END, PAD, DecoderConfig
from encoder.generator_tokenizer import GeneratorTokenizer, train_tokenizer
from encoder.vector_reader import VectorReaderModel
from encoder.vector_reader_config import VectorReaderConfig, reader_to_json
from encoder.vector_reading import NO_REPEAT, NumpyVectorReader, VectorReaderFolder, load_vector_reader

E_D = 12  # numbers of an embedding


@pytest.fixture(scope="module")
def vocabulary() -> str:
    return train_tokenizer(["the cat sat on the mat", "a dog ran"] * 5, 300, ())


@pytest.fixture
def config(vocabulary: str) -> VectorReaderConfig:
    size = GeneratorTokenizer(vocabulary).vocab_size
    return VectorReaderConfig("tiny", DecoderConfig(size, 16, 2, 2, 32), E_D, "f" * 64, 3, 12)


@pytest.fixture
def model(config: VectorReaderConfig) -> VectorReaderModel:
    """Random weights, large enough that everything matters."""
    torch.manual_seed(0)
    model = VectorReaderModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def folder(model: VectorReaderModel, vocabulary: str, tmp_path: Path) -> Path:
    weights = {name: parameter.detach().half().numpy() for name, parameter in model.named_parameters()}
    write_files(tmp_path / "reader", reader_to_json(model.config), weights, vocabulary)
    model.load_state_dict({name: torch.from_numpy(array).float() for name, array in weights.items()})
    return tmp_path / "reader"


@pytest.fixture
def reader(folder: Path) -> NumpyVectorReader:
    return load_vector_reader(folder)


def unit(n: int, seed: int = 0) -> Float32:
    rows = np.random.default_rng(seed).standard_normal((n, E_D))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def tokens_of(config: VectorReaderConfig, n: int, t: int, seed: int = 0) -> Int64:
    return np.random.default_rng(seed).integers(2, config.decoder.vocab_size, (n, t))


def logits(model: VectorReaderModel, vectors: Float32, tokens: Int64) -> Float32:
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(vectors), torch.from_numpy(tokens)).numpy())


def test_the_vector_reaches_tokens_through_attention_alone(model: VectorReaderModel) -> None:
    tokens = tokens_of(model.config, 1, 6)
    first, other = logits(model, unit(1), tokens), logits(model, unit(1, 1), tokens)
    assert np.abs(first - other).max(axis=2).min() > 1e-3  # at every place
    with torch.no_grad():
        for block in model.decoder.blocks:
            block.self_attention.output.weight.zero_()  # type: ignore[union-attr,operator]
    first, other = logits(model, unit(1), tokens), logits(model, unit(1, 1), tokens)
    assert (first[:, 1:] == other[:, 1:]).all()
    assert np.abs(first[:, 0] - other[:, 0]).max() > 1e-3  # of the first token, told by the prefix itself


def test_no_token_changes_what_comes_before_it(model: VectorReaderModel) -> None:
    vectors, tokens = unit(1), tokens_of(model.config, 1, 6)
    before = logits(model, vectors, tokens)
    for place in range(6):
        changed = tokens.copy()
        changed[0, place] = 2 + (changed[0, place] - 1) % (model.config.decoder.vocab_size - 2)
        after = logits(model, vectors, changed)
        assert after[:, : place + 1] == pytest.approx(before[:, : place + 1], abs=1e-6)
        assert np.abs(after[:, place + 1 :] - before[:, place + 1 :]).max() > 1e-3


def test_numpy_computes_what_torch_does(model: VectorReaderModel, reader: NumpyVectorReader) -> None:
    vectors, tokens = unit(5), tokens_of(model.config, 5, 7)
    expected = torch.from_numpy(logits(model, vectors, tokens)).log_softmax(-1).numpy()
    assert reader.log_probabilities(vectors, tokens) == pytest.approx(expected, abs=2e-5)


def test_reading_step_by_step_scores_as_reading_at_once(reader: NumpyVectorReader) -> None:
    """The cache changes nothing: the score of each text is that of a pass over all of its tokens."""
    vectors = unit(8)
    for vector, read in zip(vectors, reader.read(vectors, 12), strict=True):
        tokens = read_tokens(reader, vector)
        assert len(tokens) == read.tokens
        whole = reader.log_probabilities(vector[None], np.array([tokens], dtype=np.int64).reshape(1, -1))[0]
        ends = [END] if read.finish is FinishReason.STOP else []
        chosen = [whole[place, token] for place, token in enumerate([*tokens, *ends])]
        assert read.score == pytest.approx(float(np.mean(chosen)), abs=1e-4)


def read_tokens(reader: NumpyVectorReader, vector: Float32) -> list[int]:
    """The most probable tokens that repeat no run of three, by full passes without a cache."""
    tokens: list[int] = []
    while len(tokens) < reader.config.max_tokens:
        scores = reader.log_probabilities(vector[None], np.array([tokens], dtype=np.int64).reshape(1, -1))
        runs = {tuple(tokens[i : i + NO_REPEAT]) for i in range(len(tokens) - NO_REPEAT + 1)}
        order = [
            token
            for token in np.argsort(-scores[0, -1], kind="stable").tolist()
            if token != PAD and (*tokens[1 - NO_REPEAT :], token) not in runs
        ]
        if order[0] == END:
            break
        tokens.append(order[0])
    return tokens


def test_many_vectors_are_read_as_each_alone(reader: NumpyVectorReader) -> None:
    vectors = unit(70)  # more than are read together
    together = reader.read(vectors, 12)
    alone = [reader.read(vector[None], 12)[0] for vector in vectors]
    assert [one.text for one in together] == [one.text for one in alone]
    assert len({one.text for one in together}) > 1


def test_no_run_of_three_tokens_is_written_twice(model: VectorReaderModel, reader: NumpyVectorReader) -> None:
    reader.config = replace(reader.config, max_tokens=60)
    for vector in unit(10):
        tokens = read_tokens(reader, vector)
        runs = [tuple(tokens[i : i + NO_REPEAT]) for i in range(len(tokens) - NO_REPEAT + 1)]
        assert len(runs) == len(set(runs))


def test_a_text_is_no_longer_than_asked_for(reader: NumpyVectorReader) -> None:
    assert max(one.tokens for one in reader.read(unit(10), 100)) <= reader.config.max_tokens
    assert {one.tokens for one in reader.read(unit(10), 1)} <= {0, 1}
    assert reader.read(unit(0), 5) == []


def test_what_cannot_be_read_is_refused(reader: NumpyVectorReader) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        reader.read(unit(1), 0)
    with pytest.raises(EncoderMismatch, match="d=12"):
        reader.read(np.zeros((1, 13), np.float32), 5)


def test_a_folder_is_known_at_once_and_loaded_when_it_reads(folder: Path, reader: NumpyVectorReader) -> None:
    lazy = VectorReaderFolder(folder)
    assert (lazy.info.id, lazy.info.max_new_tokens, lazy.info.held_out_loss) == ("tiny", 12, None)
    assert [one.text for one in lazy.read(unit(3), 12)] == [one.text for one in reader.read(unit(3), 12)]
    assert lazy.loaded() is lazy.loaded()
    (folder / WEIGHTS).write_bytes(b"other")
    assert VectorReaderFolder(folder).info.fingerprint != lazy.info.fingerprint
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        VectorReaderFolder(folder)
    with pytest.raises(CheckpointError, match="does not exist"):
        VectorReaderFolder(folder / "nothing")


def test_damaged_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_vector_reader(tmp_path / "nothing")
    content = json.loads((folder / CONFIG).read_text())
    for changed, said in (
        ({**content, "model_type": "bert"}, "found 'bert'"),
        ({**content, "prefix": 4}, "prefix.weight"),
        ({name: value for name, value in content.items() if name != "decoder"}, "does not describe"),
    ):
        (folder / CONFIG).write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=said):
            load_vector_reader(folder)
    (folder / CONFIG).write_text(json.dumps(content))
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_vector_reader(folder)
