"""Int8 products: close to the float ones, calibrated for these very weights, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from core.errors import CheckpointError, InvalidInput
from core.types import Float32
from encoder.backends import openvino_int8
from encoder.backends.openvino_backend import OpenVinoBackend, Precision
from encoder.backends.openvino_graph import float_linear
from encoder.backends.openvino_int8 import Observer, int8_linear
from encoder.backends.torch_backend import TorchBackend
from encoder.calibrate import SENTENCES, calibrate, default_texts, main, measure_ranges, read_texts
from encoder.checkpoint import load_checkpoint, save_checkpoint
from encoder.config import ModelConfig
from encoder.int8 import RANGES, ChannelRange, load_ranges, quantize_product, save_ranges
from encoder.service import load_encoder
from tests.encoder.fakes import random_batch, random_weights, tiny_config, word_tokenizer_json

LENGTHS = (7, 1, 12, 3)


def states_with_outliers(rows: int = 200) -> Float32:
    """(rows, 32), one channel forty times as large as the others."""
    x = np.random.default_rng(0).normal(0, 1, (rows, 32)).astype(np.float32)
    x[:, 5] *= 40
    return x


def seen(x: Float32) -> ChannelRange:
    return ChannelRange(x.min(0), x.max(0))


def rounded_product(x: Float32, w: Float32) -> Float32:
    """What int8 arithmetic makes of `x w^T`."""
    product = quantize_product(w, seen(x))
    step = (product.high - product.low) / 255
    rounded = np.rint(np.clip(x * product.input_scale, product.low, product.high) / step) * step
    result: Float32 = rounded @ (product.weight * product.weight_scale).T
    return result


def test_a_large_channel_does_not_cost_the_others_their_precision() -> None:
    x = states_with_outliers()
    w = np.random.default_rng(1).normal(0, 1, (16, 32)).astype(np.float32)
    w[:, 5] *= 0.1  # as in trained models, whose products are not of outliers alone
    error = np.abs(rounded_product(x, w) - x @ w.T).mean() / np.abs(x @ w.T).mean()
    assert error < 0.015


def test_zero_is_rounded_to_zero_and_weights_use_the_whole_range() -> None:
    product = quantize_product(
        np.eye(4, dtype=np.float32) * 3, ChannelRange(-np.ones(4, "f"), np.ones(4, "f") * 7)
    )
    step = (product.high - product.low) / 255
    assert abs(product.low / step - round(product.low / step)) < 1e-3
    assert product.weight.max() == 127
    assert product.weight.dtype == np.int8


@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_a_channel_that_never_changes_harms_nothing(value: float) -> None:
    x = np.full((3, 4), value, np.float32)
    w = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(rounded_product(x, w), x @ w.T, rtol=0.02, atol=1e-6)


def test_the_plugin_computes_what_the_rounding_says() -> None:
    x = states_with_outliers(9)
    w = np.random.default_rng(1).normal(0, 1, (16, 32)).astype(np.float32)
    bias = np.random.default_rng(2).normal(0, 1, 16).astype(np.float32)
    parameter = op.parameter([-1, -1, 32], np.float32)
    product = int8_linear({"p": seen(x)})("p", parameter, w, bias)
    compiled = ov.Core().compile_model(ov.Model([product], [parameter], "one"), "CPU")
    found = compiled([x[None]])[0][0]
    expected = rounded_product(x, w) + bias
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def ranges_of(config: ModelConfig) -> dict[str, ChannelRange]:
    token_ids, lengths = random_batch(config, [1, 2, 3, 5, 12, 30, 40] * 20, seed=9)
    texts = [ids[:length] for ids, length in zip(token_ids, lengths, strict=True)]
    return measure_ranges(Observer(config, random_weights(config)), texts)


def test_int8_vectors_are_close_to_those_of_the_torch_reference() -> None:
    config = tiny_config()
    backend = OpenVinoBackend(config, random_weights(config), Precision.INT8, 1, ranges_of(config))
    token_ids, lengths = random_batch(config, LENGTHS)
    expected = TorchBackend(config, random_weights(config)).forward(token_ids, lengths)
    assert (backend.forward(token_ids, lengths) * expected).sum(1).min() > 0.98


def test_int8_of_the_shipped_encoder_is_close_to_its_reference_on_every_chip() -> None:
    encoder = load_encoder(precision=Precision.INT8, threads=1)
    encoder.close()
    assert encoder.parity is not None
    assert encoder.parity > 0.997  # 0.994 with the sums of a chip without VNNI


def test_on_a_chip_without_int8_dot_products_the_vectors_are_the_float_ones(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_int8, "sums_int8_exactly", lambda: False)
    config = tiny_config()
    int8 = OpenVinoBackend(config, random_weights(config), Precision.INT8, 1, ranges_of(config))
    float32 = OpenVinoBackend(config, random_weights(config), Precision.F32, 1)
    batch = random_batch(config, LENGTHS)
    assert (int8.forward(*batch) * float32.forward(*batch)).sum(1).min() > 0.9999  # bf16 where there is one
    assert "This CPU has no int8 dot products" in caplog.text


def test_ranges_cover_every_product_and_hold_what_was_seen() -> None:
    config = tiny_config()
    ranges = ranges_of(config)
    assert len(ranges) == 4 * config.layers
    for name, one in ranges.items():
        assert (one.low <= one.high).all(), name
    wide = ranges["encoder.layer.1.output.dense"]
    assert wide.low.shape == (config.intermediate,)


def test_a_product_without_a_range_is_named() -> None:
    config = tiny_config()
    with pytest.raises(CheckpointError, match=r"'encoder.layer.0.attention.self'"):
        OpenVinoBackend(config, random_weights(config), Precision.INT8, 1, {})


def test_ranges_come_back_as_they_were(tmp_path: Path) -> None:
    ranges = {"a.b": ChannelRange(np.array([-1, 0], "f"), np.array([2, 3], "f"))}
    save_ranges(tmp_path, ranges, "abc")
    loaded = load_ranges(tmp_path, "abc")
    assert loaded.keys() == ranges.keys()
    np.testing.assert_array_equal(loaded["a.b"].low, [-1, 0])
    np.testing.assert_array_equal(loaded["a.b"].high, [2, 3])


def test_ranges_that_are_missing_damaged_or_of_other_weights_are_refused_with_advice(tmp_path: Path) -> None:
    advice = "run 'python -m encoder.calibrate"
    with pytest.raises(CheckpointError, match=f"is missing.*{advice}"):
        load_ranges(tmp_path, "abc")
    save_ranges(tmp_path, {"a": ChannelRange(np.zeros(1, "f"), np.ones(1, "f"))}, "abc")
    with pytest.raises(CheckpointError, match=f"measured with weights abc, the folder holds xyz.*{advice}"):
        load_ranges(tmp_path, "xyz")
    (tmp_path / RANGES).write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match=f"damaged.*{advice}"):
        load_ranges(tmp_path, "abc")


def test_calibrating_a_folder_binds_its_ranges_to_its_weights(tmp_path: Path) -> None:
    config = tiny_config()
    save_checkpoint(tmp_path, config, random_weights(config), word_tokenizer_json(config.vocab_size))
    calibrate(tmp_path, ["w1 w2 w3", "w4"])
    first = load_checkpoint(tmp_path)
    assert len(load_ranges(tmp_path, first.weights_sha256)) == 4 * config.layers
    longer = load_checkpoint(tmp_path, max_tokens=16)
    assert longer.weights_sha256 == first.weights_sha256
    save_checkpoint(tmp_path, config, random_weights(config, seed=1), first.tokenizer_json)
    with pytest.raises(CheckpointError, match="measured with weights"):
        load_ranges(tmp_path, load_checkpoint(tmp_path).weights_sha256)


def test_calibrating_without_texts_is_refused(tmp_path: Path) -> None:
    config = tiny_config()
    save_checkpoint(tmp_path, config, random_weights(config), word_tokenizer_json(config.vocab_size))
    with pytest.raises(CheckpointError, match="Without texts"):
        calibrate(tmp_path, [])


def test_default_texts_are_sentences_then_docstrings() -> None:
    texts = list(default_texts(len(SENTENCES) + 20))
    assert tuple(texts[: len(SENTENCES)]) == SENTENCES
    assert len(texts) == len(SENTENCES) + 20
    assert len(set(texts)) == len(texts)


def test_a_float_product_is_the_plain_one() -> None:
    parameter = op.parameter([1, 1, 2], np.float32)
    product = float_linear("p", parameter, np.array([[1, 2], [3, 4]], "f"), np.array([10, 20], "f"))
    compiled = ov.Core().compile_model(
        ov.Model([product], [parameter], "one"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    np.testing.assert_allclose(compiled([np.ones((1, 1, 2), "f")])[0], [[[13, 27]]])


def test_texts_to_calibrate_on_are_lines_with_a_text_and_perhaps_a_title(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a", "title": null}\n{"text": "b", "title": "T"}\n')
    assert list(read_texts(path)) == ["a", "T b"]


@pytest.mark.parametrize("line", ["{", "[]", '{"title": "x"}', '{"text": null}', '{"text": "x", "title": 1}'])
def test_a_line_to_calibrate_on_that_is_no_text_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(InvalidInput, match="line 2: expected"):
        list(read_texts(path))


def test_the_command_says_in_a_line_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["calibrate", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=r"^error: The model folder .*none does not exist\.$"):
        main()
