"""Cross-encoder folders of each family: logits equal to the reference implementation's, pairs cut rightly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from core.errors import CheckpointError, InvalidInput
from core.rerank import RerankLimits, RerankService
from core.types import Float32, Lane, PassageText
from encoder.cross_checkpoint import load_cross_encoder, save_cross_encoder
from encoder.reranker import CrossEncoderReranker, load_reranker
from tests.encoder.test_families import CONFIGS, FAMILIES

WORDS = [f"w{i}" for i in range(40)]
WINDOW = 32  # tokens, of which three are special
QUERY = "w1 w2 w3"
LENGTHS = (1, 40, 7, 25, 26, 13)


def pair_tokenizer() -> Tokenizer:
    """Words from id 6 up; ids below are special, so that none is a padding id of any family."""
    special = {"[UNK]": 4, "[CLS]": 2, "[SEP]": 3}
    tokenizer = Tokenizer(
        WordLevel(special | {word: i + 6 for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def cross_folder(folder: Path, family: str, **changes: Any) -> tuple[Path, Any]:
    """A folder with random weights in the public layout, and the reference model that wrote it."""
    torch.manual_seed(0)
    config = CONFIGS[family].from_dict(CONFIGS[family].to_dict() | {"num_labels": 1} | changes)
    reference = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if parameter.dim() == 1:  # norms and biases start at 1 and 0, which would hide a swap
                parameter.add_(torch.randn_like(parameter) * (0.2 if name.endswith("bias") else 0.1))
    reference.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(pair_tokenizer().to_str())
    return folder, reference


def passages_of(*lengths: int) -> list[str]:
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(WORDS, length)) for length in lengths]


def reference_logits(reference: Any, query: str, passages: list[str]) -> Float32:
    """Of each pair alone, tokenised by transformers and cut by its own strategy."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pair_tokenizer(), model_input_names=["input_ids", "token_type_ids"]
    )
    logits = []
    for passage in passages:
        fields = tokenizer(query, passage, truncation="longest_first", max_length=WINDOW, return_tensors="pt")
        if getattr(reference.config, "type_vocab_size", 1) < 2:
            del fields["token_type_ids"]
        with torch.inference_mode():
            logits.append(reference(**fields).logits[0, 0].item())
    return np.array(logits, np.float32)


def texts(passages: list[str]) -> list[PassageText]:
    return [PassageText("", passage) for passage in passages]


@pytest.fixture
def opened() -> Iterator[list[CrossEncoderReranker]]:
    """Rerankers to be closed at the end."""
    services: list[CrossEncoderReranker] = []
    yield services
    for service in services:
        service.close()


@pytest.mark.parametrize(
    ("family", "backend"),
    [(f, "torch") for f in FAMILIES] + [(f, "openvino") for f in FAMILIES if f != "modernbert"],
)
def test_logits_equal_those_of_the_reference_implementation(
    tmp_path: Path, opened: list[CrossEncoderReranker], family: str, backend: str
) -> None:
    folder, reference = cross_folder(tmp_path / family, family)
    opened.append(load_reranker(folder, backend, precision="f32", threads=1))
    passages = passages_of(*LENGTHS)
    expected = reference_logits(reference, QUERY, passages)
    assert expected.std() > 0.01
    together = opened[0].score(QUERY, texts(passages), Lane.BULK)
    np.testing.assert_allclose(together, expected, atol=1e-4)
    alone = [opened[0].score(QUERY, texts([passage]), Lane.INTERACTIVE)[0] for passage in passages]
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_mean_pooling_of_modernbert_is_followed(
    tmp_path: Path, opened: list[CrossEncoderReranker]
) -> None:
    folder, reference = cross_folder(tmp_path / "a", "modernbert", classifier_pooling="mean")
    opened.append(load_reranker(folder, "torch", threads=1))
    passages = passages_of(5, 12)
    # The reference pads nothing here: each pair is alone.
    expected = reference_logits(reference, QUERY, passages)
    np.testing.assert_allclose(opened[0].score(QUERY, texts(passages), Lane.BULK), expected, atol=1e-4)


def test_segments_tell_query_and_passage_apart(tmp_path: Path, opened: list[CrossEncoderReranker]) -> None:
    folder, _ = cross_folder(tmp_path / "a", "bert")
    opened.append(load_reranker(folder, "torch", threads=1))
    (one,) = opened[0].score("w1 w2", texts(["w3"]), Lane.BULK)
    (other,) = opened[0].score("w1", texts(["w2 w3"]), Lane.BULK)
    assert abs(one - other) > 1e-3


def test_a_word_that_looks_like_a_separator_does_not_end_the_query(
    tmp_path: Path, opened: list[CrossEncoderReranker]
) -> None:
    folder, reference = cross_folder(tmp_path / "a", "bert")
    opened.append(load_reranker(folder, "torch", threads=1))
    expected = reference_logits(reference, "w1 [SEP] w2", ["w3 [SEP] w4"])
    found = opened[0].score("w1 [SEP] w2", texts(["w3 [SEP] w4"]), Lane.BULK)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_passages_are_cut_and_only_a_query_that_leaves_no_room_is(
    tmp_path: Path, opened: list[CrossEncoderReranker]
) -> None:
    opened.append(load_reranker(cross_folder(tmp_path / "a", "bert")[0], "torch", threads=1))
    reranker = opened[0]
    room = WINDOW - 3
    assert reranker.info.max_tokens == WINDOW
    assert reranker.room(QUERY) == room - 3
    (passage,) = passages_of(40)
    cut = " ".join(passage.split()[: room - 3])
    whole, short, shorter = reranker.score(QUERY, texts([passage, cut, cut.rpartition(" ")[0]]), Lane.BULK)
    assert whole == pytest.approx(short, abs=1e-6)
    assert abs(short - shorter) > 1e-6
    (long_query,) = passages_of(100)
    assert reranker.room(long_query) == room - int(room * 0.75)
    kept = " ".join(long_query.split()[: int(room * 0.75)])
    np.testing.assert_allclose(
        reranker.score(long_query, texts([cut]), Lane.BULK), reranker.score(kept, texts([cut]), Lane.BULK)
    )


def test_titles_stand_before_the_text(tmp_path: Path, opened: list[CrossEncoderReranker]) -> None:
    opened.append(load_reranker(cross_folder(tmp_path / "a", "bert")[0], "torch", threads=1))
    joined, apart = opened[0].score(QUERY, [PassageText("", "w5 w6"), PassageText("w5", "w6")], Lane.BULK)
    assert joined == apart
    assert len(opened[0].score(QUERY, [], Lane.BULK)) == 0
    with pytest.raises(InvalidInput, match="Text 0 is a int"):
        opened[0].score(QUERY, [PassageText("", 5)], Lane.BULK)  # type: ignore[arg-type]  # the mistake


def test_half_a_surrogate_pair_emoji_and_nothing_are_read(
    tmp_path: Path, opened: list[CrossEncoderReranker]
) -> None:
    opened.append(load_reranker(cross_folder(tmp_path / "a", "bert")[0], "torch", threads=1))
    assert np.isfinite(opened[0].score("😀 \ud83d", texts(["👩‍🚀 \udc00", ""]), Lane.BULK)).all()


def test_what_was_saved_is_the_same_model_for_us_and_for_the_reference(tmp_path: Path) -> None:
    folder, _ = cross_folder(tmp_path / "a", "bert")
    first = load_cross_encoder(folder)
    stored = load_encoder_parts(folder)
    config = first.encoder.config
    single = type(config)(**{n: getattr(config, n) for n in config.__slots__} | {"vocab_size": 50})
    head = {
        "dense.weight": first.head.dense_weight,
        "dense.bias": first.head.dense_bias,
        "score.weight": first.head.score_weight,
        "score.bias": first.head.score_bias,
    }
    save_cross_encoder(tmp_path / "b", single, stored, head, first.encoder.tokenizer_json)
    second = load_cross_encoder(tmp_path / "b")
    assert second.encoder.config == config
    for name, array in first.encoder.weights.items():
        np.testing.assert_array_equal(second.encoder.weights[name], array)
    reference = AutoModelForSequenceClassification.from_pretrained(tmp_path / "b").eval()
    u = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    with torch.inference_mode():
        pooled = torch.tanh(reference.bert.pooler.dense(torch.from_numpy(u)))
        expected = reference.classifier(pooled).numpy()
    np.testing.assert_allclose(second.head.logits(u), expected, atol=1e-5)


def load_encoder_parts(folder: Path) -> dict[str, Float32]:
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    return {
        name.removeprefix("bert."): array
        for name, array in tensors.items()
        if name.startswith(("bert.embeddings.", "bert.encoder."))
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM; a reranker must be one of BertForSeq"),
        ({"architectures": None}, "architecture unnamed"),
        ({"model_type": "deberta-v2", "architectures": ["DebertaV2ForSequenceClassification"]}, "DebertaV2"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "has 3 labels; a reranker must have 1"),
        ({"position_embedding_type": "relative_key"}, "relative_key positions"),
        ({"hidden_act": "gelu_new"}, "gelu_new"),
        ({"is_decoder": True}, "sets is_decoder: its tokens see only those before them"),
        ({"architectures": 1}, "has the architectures 1; a list of names is expected"),
        ({"id2label": 1}, "has the id2label 1; an object of names is expected"),
    ],
)
def test_other_architectures_are_refused_by_name(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder, _ = cross_folder(tmp_path / "a", "bert")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        load_cross_encoder(folder)


def test_pickled_missing_and_incomplete_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder, _ = cross_folder(tmp_path / "a", "bert")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({n: a for n, a in tensors.items() if not n.startswith("classifier")}, path)
    with pytest.raises(CheckpointError, match=r"no tensor .classifier\.weight"):
        load_cross_encoder(folder)
    path.rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights"):
        load_cross_encoder(folder)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_cross_encoder(tmp_path / "nowhere")


def test_a_tokenizer_without_a_template_for_pairs_is_refused(tmp_path: Path) -> None:
    folder, _ = cross_folder(tmp_path / "a", "bert")
    tokenizer = pair_tokenizer()
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    with pytest.raises(CheckpointError, match="no template for pairs"):
        load_reranker(folder, "torch", threads=1)


def test_a_tokenizer_with_more_tokens_than_the_weights_have_vectors_is_refused(tmp_path: Path) -> None:
    folder, _ = cross_folder(tmp_path / "a", "bert")
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"w39":45', '"w39":50'))  # in the half of segment 1
    with pytest.raises(CheckpointError, match="has the id 50, but the weights have vectors of 50 ids"):
        load_reranker(folder, "torch", threads=1)


def test_the_folder_one_is_in_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cross_folder(tmp_path / "a", "bert")[0])
    assert load_cross_encoder(Path()).encoder.config.id == "a"


def test_a_folder_that_may_say_nothing_of_ours_but_no_nonsense(tmp_path: Path) -> None:
    folder, _ = cross_folder(tmp_path / "a", "bert")
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"cognate": None}))
    assert load_cross_encoder(folder).encoder.config.id == "a"
    path.write_text(json.dumps(raw | {"cognate": ["id"]}))
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        load_cross_encoder(folder)


@pytest.mark.integration
def test_a_folder_that_sentence_transformers_wrote_scores_as_there(
    tmp_path: Path, opened: list[CrossEncoderReranker]
) -> None:
    from sentence_transformers import CrossEncoder

    folder, _ = cross_folder(tmp_path / "a", "bert")
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "model_max_length": 20,
        "pad_token": "w0",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    reference = CrossEncoder(str(folder), device="cpu")
    reference.save_pretrained(str(tmp_path / "b"))
    opened.append(load_reranker(tmp_path / "b", "torch", threads=1))
    assert opened[0].info.max_tokens == 20
    passages = passages_of(*LENGTHS)
    expected = reference.predict([(QUERY, p) for p in passages], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(opened[0].score(QUERY, texts(passages), Lane.BULK), expected, atol=1e-4)
    probabilities = reference.predict([(QUERY, p) for p in passages])
    service = RerankService(opened[0], RerankLimits())
    np.testing.assert_allclose(service.relevance(expected), probabilities, atol=1e-5)
