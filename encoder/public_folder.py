"""How a folder of sentence-transformers says that its encoder is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from encoder.json_files import read_json

SIZES = "sentence_bert_config.json"


def public_behaviour(folder: Path, max_positions: int) -> dict[str, Any]:
    """Pooling, length and prompts as the sentence-transformers files of the folder state them.

    Vectors are always normalised: the index compares by inner product.
    """
    modules = read_json(folder / "modules.json", default=[])
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    extra = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if extra:
        raise CheckpointError(f"{folder} adds the modules {sorted(extra)}, which are not supported.")
    sizes = read_json(folder / SIZES, default={})
    query_prompt, passage_prompt = _public_prompts(folder)
    pooling = _pooling_file(folder, modules)
    if (query_prompt or passage_prompt) and pooling.get("include_prompt") is False:
        raise CheckpointError(f"{folder} pools without its prompts (include_prompt), which is not supported.")
    return {
        "id": folder.name,
        "max_tokens": int(min(sizes.get("max_seq_length") or most_tokens(folder), max_positions)),
        "pooling": _public_pooling(folder, pooling),
        "query_prompt": query_prompt,
        "passage_prompt": passage_prompt,
    }


def _public_prompts(folder: Path) -> tuple[str, str]:
    """Of queries and of passages, by the names that sentence-transformers looks for, or the default one.

    An empty prompt is a prompt.
    """
    raw = read_json(folder / "config_sentence_transformers.json", default={})
    prompts = {name: prompt or "" for name, prompt in (raw.get("prompts") or {}).items()}
    default = prompts.get(raw.get("default_prompt_name"), "")
    of_passages = (prompts[name] for name in ("document", "passage", "corpus") if name in prompts)
    return prompts.get("query", default), next(of_passages, default)


def _pooling_file(folder: Path, modules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """How the folder says that it pools; a bare encoder, which does not say, is read at CLS."""
    paths = [
        module.get("path", "1_Pooling") for module in modules if str(module["type"]).endswith(".Pooling")
    ]
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
    said = read_json(folder / "tokenizer_config.json", default={}).get("model_max_length")
    return said if isinstance(said, int | float) and said > 0 else math.inf


def in_lower_case(folder: Path, tokenizer_json: str) -> str:
    """The tokenizer, reading texts in lower case where the folder says so (`do_lower_case`)."""
    if not read_json(folder / SIZES, default={}).get("do_lower_case"):
        return tokenizer_json
    tokenizer = json.loads(tokenizer_json)
    own = tokenizer.get("normalizer")
    steps = [] if own is None else own["normalizers"] if own["type"] == "Sequence" else [own]
    if any(step["type"] == "Lowercase" or step.get("lowercase") for step in steps):
        return tokenizer_json
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}
    return json.dumps(tokenizer, ensure_ascii=False)
