"""Measures the ranges that int8 needs and writes them into the model folder; to be run when weights change.

python -m encoder.calibrate FOLDER [TEXTS.jsonl[.gz]] [--limit 400]

Texts are the lines' "text" fields, after "title" where there is one. Without a file they are docstrings of
the Python standard library and some sentences of other kinds and languages.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from core.errors import CheckpointError, CognateError, InvalidInput
from core.text_lines import read_lines
from encoder.backends.base import Int32
from encoder.backends.openvino_int8 import Observer
from encoder.checkpoint import load_checkpoint
from encoder.int8 import RANGES, ChannelRange, save_ranges
from encoder.tokenizer import Tokenizer

DEFAULT_LIMIT = 400
_DOCSTRING_STRIDE = 7  # so that 400 docstrings come from all over the library

SENTENCES = (
    "",
    "a",
    "invoice 2024-03",
    "What is the capital of Australia?",
    "how to reset my password",
    "My card was charged twice and I want my money back!!!",
    "WARNING: disk /dev/sda1 is 97% full, 1.2 GB left of 40 GB.",
    "The court held that the contract was void for lack of consideration.",
    "Aspirin irreversibly inhibits cyclooxygenase and so reduces the formation of thromboxane A2.",
    "The boundary layer separates where the pressure gradient along the wall becomes adverse.",
    "lol that was sooo funny 😂😂 can't believe he did it again #fail",
    "Senior nurse, intensive care; shift work; registration required.",
    "She closed the door softly, and for a long while nobody in the room spoke.",
    "Two teams scored in the last minute, so the final went to extra time.",
    "SELECT name, COUNT(*) FROM orders WHERE total > 100 GROUP BY name ORDER BY 2 DESC;",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }",
    "https://example.org/a/b?c=d&e=f#g user@example.org +49 30 901820",
    "E = mc^2; \\int_0^\\infty e^{-x^2} dx = \\sqrt{\\pi}/2",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "the the the the the the the the the the the the the the the the",
    "......!!!!!!??????------",
    "Der Zug nach München hat heute leider zwanzig Minuten Verspätung.",
    "Le musée est fermé le mardi et les jours fériés.",
    "El perro duerme en el jardín mientras llueve.",
    "Быстрая лиса перепрыгнула через ленивую собаку.",
    "今日はとても良い天気ですね。",
    "人工智能正在改变世界。",
    "오늘 점심에 무엇을 먹을까요?",
    "أين تقع أقرب محطة قطار؟",
    "मौसम आज बहुत अच्छा है।",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="model folder")
    parser.add_argument("texts", type=Path, nargs="?", help="JSONL with 'text' and optionally 'title'")
    parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT, help="number of texts read")
    options = parser.parse_args()
    texts = default_texts(options.limit) if options.texts is None else read_texts(options.texts)
    try:
        calibrate(options.folder, list(islice(texts, options.limit)))
    except CognateError as error:
        sys.exit(f"error: {error}")


def calibrate(folder: Path, texts: Sequence[str]) -> None:
    """Writes `int8.safetensors` into a model folder, from what its model computes for `texts`.

    Raises CheckpointError for a bad folder, for a modernbert and when there are no texts.
    """
    checkpoint = load_checkpoint(folder)
    if checkpoint.config.modern:
        raise CheckpointError(
            f"{folder} is a modernbert, which runs on torch in float32 and needs no ranges."
        )
    token_ids = Tokenizer(checkpoint.tokenizer_json, checkpoint.config.at_once).encode(texts)
    observer = Observer(checkpoint.config, checkpoint.weights)
    save_ranges(folder, measure_ranges(observer, token_ids), checkpoint.weights_sha256)


def measure_ranges(observer: Observer, token_ids: Iterable[Int32]) -> dict[str, ChannelRange]:
    """The range of each input channel of each matrix product over all texts, each (t,) int32."""
    ranges: dict[str, ChannelRange] = {}
    for ids in token_ids:
        for name, x in observer.observe(ids).items():
            seen = ranges.get(name)
            ranges[name] = seen.widened(x) if seen else ChannelRange(x.min(0), x.max(0))
    if not ranges:
        raise CheckpointError(f"Without texts there is nothing to write to {RANGES}; give at least one.")
    return ranges


def default_texts(limit: int) -> Iterator[str]:
    """Our sentences, then docstrings from all over the standard library, `limit` together."""
    docstrings = islice(stdlib_docstrings(), 0, None, _DOCSTRING_STRIDE)
    yield from islice((text for source in (SENTENCES, docstrings) for text in source), limit)


def stdlib_docstrings() -> Iterator[str]:
    """Docstrings of at least 40 characters, in order of file and line, after their qualified names."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                text = ast.get_docstring(node)
                if text and len(text) >= 40:
                    yield f"{path.stem}.{node.name} {text}"


def read_texts(path: Path) -> Iterator[str]:
    """Titles and texts of a JSONL file. Raises InvalidInput naming a line that is none."""
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
            title, text = row.get("title") or "", row["text"]
        except (AttributeError, KeyError, ValueError):
            title = text = None
        if not (isinstance(title, str) and isinstance(text, str)):
            raise InvalidInput(f'{path}, line {number}: expected {{"text": "…"}}, with or without a "title".')
        yield f"{title} {text}".strip()


if __name__ == "__main__":
    main()
