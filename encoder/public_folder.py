"""How a folder of sentence-transformers says that its encoder is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from encoder.json_files import read_json
from encoder.tokenizer import load_tokenizer

MODULES = "modules.json"
_KINDS = {"Transformer", "Pooling", "Normalize"}
SIZES = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_BERT_TOKENIZERS = ("Bert", "DistilBert", "MPNet", "Electra")
# What transformers takes from the tokenizer's config rather than from its file -> the name in the file.
_NORMALISING = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def public_behaviour(folder: Path, max_positions: int) -> dict[str, Any]:
    """Pooling, length and prompts as the sentence-transformers files of the folder state them.

    Vectors are always normalised: the index compares by inner product.
    """
    modules = _modules(folder)
    query_prompt, passage_prompt = _public_prompts(folder)
    pooling = _pooling_file(folder, modules)
    if (query_prompt or passage_prompt) and pooling.get("include_prompt") is False:
        raise CheckpointError(f"{folder} pools without its prompts (include_prompt), which is not supported.")
    return {
        "id": folder.resolve().name,
        "max_tokens": int(min(_longest(folder), max_positions)),
        "pooling": _public_pooling(folder, pooling),
        "query_prompt": query_prompt,
        "passage_prompt": passage_prompt,
    }


def _modules(folder: Path) -> Sequence[Mapping[str, Any]]:
    """The steps from a text to its vector, each with a type."""
    path = folder / MODULES
    modules: Sequence[Mapping[str, Any]] = read_json(path, default=[])
    for module in modules:
        if not isinstance(module, Mapping) or not isinstance(module.get("type"), str):
            raise CheckpointError(f"{path} lists {module!r}; an object with 'type' and 'path' is expected.")
        if not isinstance(module.get("path", ""), str):
            raise CheckpointError(f"{path} has the path {module['path']!r}; a folder's name is expected.")
    extra = {module["type"].rpartition(".")[2] for module in modules} - _KINDS
    if extra:
        raise CheckpointError(f"{folder} adds the modules {sorted(extra)}, which are not supported.")
    return modules


def _longest(folder: Path) -> float:
    """Tokens of the longest input: what sentence-transformers was told, else what the tokenizer says."""
    path = folder / SIZES
    said = read_json(path, default={}).get("max_seq_length") or most_tokens(folder)
    if not isinstance(said, int | float):
        raise CheckpointError(f"{path} has the max_seq_length {said!r}; a number of tokens is expected.")
    return said


def _public_prompts(folder: Path) -> tuple[str, str]:
    """Of queries and of passages, by the names that sentence-transformers looks for, or the default one.

    An empty prompt is a prompt.
    """
    path = folder / PROMPTS
    raw = read_json(path, default={})
    found, default_name = raw.get("prompts") or {}, raw.get("default_prompt_name")
    if not isinstance(found, Mapping) or not all(isinstance(prompt, str | None) for prompt in found.values()):
        raise CheckpointError(f"{path} has the prompts {found!r}; an object of texts is expected.")
    if not isinstance(default_name, str | None):
        raise CheckpointError(f"{path} has the default_prompt_name {default_name!r}; a text is expected.")
    prompts = {name: prompt or "" for name, prompt in found.items()}
    default = prompts.get(default_name, "") if default_name else ""
    of_passages = (prompts[name] for name in ("document", "passage", "corpus") if name in prompts)
    return prompts.get("query", default), next(of_passages, default)


def _pooling_file(folder: Path, modules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """How the folder says that it pools; a bare encoder, which does not say, is read at CLS."""
    paths = [module.get("path", "1_Pooling") for module in modules if module["type"].endswith(".Pooling")]
    bare = None if paths else {"pooling_mode_cls_token": True}
    raw: Mapping[str, Any] = read_json(folder / (paths or ["1_Pooling"])[0] / "config.json", default=bare)
    return raw


def _public_pooling(folder: Path, raw: Mapping[str, Any]) -> str:
    modes = {name for name, chosen in raw.items() if name.startswith("pooling_mode_") and chosen is True}
    if modes == {"pooling_mode_mean_tokens"} or raw.get("pooling_mode") == "mean":
        return "mean"
    if modes == {"pooling_mode_cls_token"} or raw.get("pooling_mode") == "cls":
        return "cls"
    raise CheckpointError(f"{folder} pools by {sorted(modes)}; supported: mean or cls alone.")


def most_tokens(folder: Path) -> float:
    """Those that the folder's tokenizer reads of a text, special tokens included; infinite if unsaid."""
    said = read_json(folder / _TOKENIZER_CONFIG, default={}).get("model_max_length")
    return said if isinstance(said, int | float) and said > 0 else math.inf


def normalised_as_stated(folder: Path, tokenizer_json: str) -> str:
    """The tokenizer, normalising texts as its config says where that is not what its file says: transformers
    goes by the config for tokenizers of BERT's kind. Raises CheckpointError when it cannot be read."""
    stated = read_json(folder / _TOKENIZER_CONFIG, default={})
    own = {ours: stated[name] for name, ours in _NORMALISING.items() if isinstance(stated.get(name), bool)}
    if not own or not str(stated.get("tokenizer_class") or "Bert").startswith(_BERT_TOKENIZERS):
        return tokenizer_json
    load_tokenizer(tokenizer_json)  # so that what is changed below is a tokenizer
    tokenizer = json.loads(tokenizer_json)
    normalizer = tokenizer.get("normalizer") or {}
    if normalizer.get("type") != "BertNormalizer" or own.items() <= normalizer.items():
        return tokenizer_json
    return json.dumps(tokenizer | {"normalizer": normalizer | own}, ensure_ascii=False)


def in_lower_case(folder: Path, tokenizer_json: str) -> str:
    """The tokenizer, reading texts in lower case where the folder says so (`do_lower_case`).

    Raises CheckpointError when it cannot be read.
    """
    if not read_json(folder / SIZES, default={}).get("do_lower_case"):
        return tokenizer_json
    load_tokenizer(tokenizer_json)  # so that what is changed below is a tokenizer
    tokenizer = json.loads(tokenizer_json)
    own = tokenizer.get("normalizer")
    steps = [] if own is None else own.get("normalizers", [own])
    if any(step.get("type") == "Lowercase" or step.get("lowercase") for step in steps):
        return tokenizer_json
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}
    return json.dumps(tokenizer, ensure_ascii=False)
