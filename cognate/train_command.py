"""`cognate train`: encoders and rerankers from a user's own pairs, vector readers from texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cognate.progress import plain_lines
from cognate.terminal import Terminal
from core.errors import InvalidInput, StartRefused

if TYPE_CHECKING:
    from encoder.training.loop import Progress as Reached
    from encoder.training.loop import TrainReport
    from encoder.training.settings import PairFile
    from encoder.training.vector_reader import Progress as ReaderReached
    from encoder.training.vector_reader import VectorReaderReport

Choice = TypeVar("Choice", bound=StrEnum)

READS_FIRST: Final = "Reads and encodes all texts first."

train_app = typer.Typer(no_args_is_help=True, help="Train models on your own data.")


Files = Annotated[
    list[str], typer.Argument(help="JSONL files of {query, text, title?, negatives?}; FILE=2 weighs double.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model.")]
Start = Annotated[Path | None, typer.Option(help="Model folder to start from; default: the shipped one.")]
Steps = Annotated[int, typer.Option(help="Steps at most.")]
Minutes = Annotated[float | None, typer.Option(help="Minutes at most.")]
MaxTokens = Annotated[int, typer.Option(help="Longest input while training.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak; default: by mode.")]
LastLayers = Annotated[int | None, typer.Option(help="Train only so many of the last blocks.")]
Bf16 = Annotated[bool, typer.Option(help="Mixed precision.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0 takes all cores.")]
Seed = Annotated[int, typer.Option(help="Of sampling and initialisation.")]
ModelId = Annotated[str | None, typer.Option(help="Name of the trained model; default: the folder's.")]


@train_app.command()
def encoder(
    files: Files,
    out: Out,
    start: Start = None,
    mode: Annotated[str, typer.Option(help="class_attention, lora or full.")] = "lora",
    steps: Steps = 500,
    minutes: Minutes = None,
    batch_size: Annotated[int, typer.Option(help="Pairs a step.")] = 32,
    max_tokens: MaxTokens = 128,
    learning_rate: LearningRate = None,
    hard_negatives: Annotated[int, typer.Option(help="Mined or given negatives a pair.")] = 0,
    distil: Annotated[float, typer.Option(help="Weight of staying near the start model's vectors.")] = 1.0,
    distil_similarities: Annotated[
        float, typer.Option(help="Weight of staying near the start model's similarities within a batch.")
    ] = 1.0,
    last_layers: LastLayers = None,
    start_share: Annotated[float, typer.Option(help="Share of the start weights in the result.")] = 0.0,
    bf16: Bf16 = False,
    threads: Threads = 0,
    seed: Seed = 0,
    model_id: ModelId = None,
) -> None:
    """Train an encoder on pairs; an interrupted run goes on when the same command is given again."""
    with _extra_train():
        from encoder.service import shipped_model
        from encoder.training.settings import LossSettings, Mode, TrainSettings
        from encoder.training.train import train_encoder
    settings = TrainSettings(
        start=start or shipped_model(),
        files=tuple(_pair_file(file, hard_negatives) for file in files),
        out=out,
        mode=_choice(Mode, mode, "mode"),
        losses=LossSettings(embedding=distil, similarity=distil_similarities),
        model_id=model_id or out.resolve().name,
        steps=steps,
        max_seconds=None if minutes is None else minutes * 60,
        batch_size=batch_size,
        max_tokens=max_tokens,
        learning_rate=learning_rate,
        last_layers=last_layers,
        start_share=start_share,
        bf16=bf16,
        threads=threads,
        seed=seed,
    )
    _train(lambda show: train_encoder(settings, show), steps, Terminal())


@train_app.command()
def reranker(
    files: Files,
    out: Out,
    start: Start = None,
    mode: Annotated[str, typer.Option(help="full or lora.")] = "full",
    steps: Steps = 1000,
    minutes: Minutes = None,
    batch_size: Annotated[int, typer.Option(help="Queries a step.")] = 8,
    negatives: Annotated[int, typer.Option(help="Mined or given negatives a query.")] = 7,
    loss: Annotated[str, typer.Option(help="listwise or binary cross-entropy.")] = "listwise",
    max_tokens: MaxTokens = 192,
    learning_rate: LearningRate = None,
    last_layers: LastLayers = None,
    bf16: Bf16 = False,
    threads: Threads = 0,
    seed: Seed = 0,
    model_id: ModelId = None,
) -> None:
    """Train a cross-encoder on pairs; an interrupted run goes on when the same command is given again."""
    with _extra_train():
        from encoder.service import shipped_model
        from encoder.training.settings import Mode, RerankLoss, RerankSettings, TrainSettings
        from encoder.training.train_reranker import train_reranker
    run = TrainSettings(
        start=start or shipped_model(),
        files=tuple(_pair_file(file, negatives) for file in files),
        out=out,
        mode=_choice(Mode, mode, "mode"),
        model_id=model_id or out.resolve().name,
        steps=steps,
        max_seconds=None if minutes is None else minutes * 60,
        batch_size=batch_size,
        max_tokens=max_tokens,
        learning_rate=learning_rate,
        last_layers=last_layers,
        bf16=bf16,
        threads=threads,
        seed=seed,
    )
    settings = RerankSettings(run, negatives, _choice(RerankLoss, loss, "loss"))
    _train(lambda show: train_reranker(settings, show), steps, Terminal())


@train_app.command("vector-reader")
def vector_reader(
    files: Annotated[list[Path], typer.Argument(help="JSONL files of {text}: short texts.")],
    out: Out,
    start: Start = None,
    steps: Steps = 20_000,
    minutes: Minutes = None,
    batch_size: Annotated[int, typer.Option(help="Texts a step.")] = 64,
    max_tokens: Annotated[int, typer.Option(help="Longest text, in tokens of its own vocabulary.")] = 32,
    vocabulary: Annotated[int, typer.Option(help="Tokens of the vocabulary, learnt from the texts.")] = 8192,
    learning_rate: Annotated[float, typer.Option(help="Peak.")] = 2e-3,
    bf16: Bf16 = False,
    threads: Threads = 0,
    seed: Seed = 0,
    model_id: ModelId = None,
) -> None:
    """Train a decoder that writes a text for an embedding (experimental); interrupted runs go on."""
    with _extra_train():
        from encoder.service import shipped_model
        from encoder.training.pairs import require_file
        from encoder.training.vector_reader import train_vector_reader
        from encoder.training.vector_reader_settings import VectorReaderSettings
    settings = VectorReaderSettings(
        files=tuple(files),
        start=start or shipped_model(),
        out=out,
        model_id=model_id or out.resolve().name,
        vocab_size=vocabulary,
        max_tokens=max_tokens,
        steps=steps,
        max_seconds=None if minutes is None else minutes * 60,
        batch_size=batch_size,
        learning_rate=learning_rate,
        bf16=bf16,
        threads=threads,
        seed=seed,
    )
    for file in files:
        require_file(file, "texts")
    console = Terminal()
    console.print(READS_FIRST)
    with _bar(console) as bar:
        report = train_vector_reader(settings, _shown_losses(bar, steps))
    console.print(f"{report.steps} steps in {report.seconds / 60:.1f} minutes, {report.tokens:,} tokens.")
    console.print(
        f"Nats a token of held-out texts: {report.held_out_loss:.3f}, with other texts' vectors"
        f" {report.shuffled_loss:.3f}. Similarity of what is read back: {report.similarity:.3f}."
    )
    console.print(f"The model is in {report.folder} (fingerprint {report.fingerprint[:12]}).", soft_wrap=True)
    console.print(f"Learning curves: {report.curves}", soft_wrap=True)
    _write_summary(report, report.folder)


@contextmanager
def _extra_train() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise StartRefused(f"Training needs {error.name}; install the extra 'train'.") from None


def _choice(choices: type[Choice], given: str, name: str) -> Choice:
    if given not in list(choices):
        raise InvalidInput(f"{name} is {given!r}; known are {', '.join(choices)}.")
    return choices(given)


def _train(run: Callable[[Callable[[Reached], None]], TrainReport], steps: int, console: Console) -> None:
    console.print(READS_FIRST)
    with _bar(console) as bar:
        report = run(_shown(bar, steps))
    _summarise(report, console)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _pair_file(argument: str, hard_negatives: int) -> PairFile:
    from encoder.training.pairs import require_file
    from encoder.training.settings import PairFile

    path, _, weight = argument.rpartition("=") if "=" in argument else (argument, "", "1")
    try:
        file = PairFile(Path(path), float(weight), hard_negatives)
    except ValueError:
        raise InvalidInput(f"{argument!r}: after '=' the weight of the file is expected, a number.") from None
    require_file(file.path)
    return file


def _shown(bar: Progress, steps: int) -> Callable[[Reached], None]:
    line, tell = bar.add_task("training", total=steps, visible=False), plain_lines(bar.console)

    def show(progress: Reached) -> None:
        is_measured = progress.dev_mrr is not None and not isnan(progress.dev_mrr)
        mrr = f", held-out MRR {progress.dev_mrr:.3f}" if is_measured else ""
        description = f"loss {progress.loss:.3f}{mrr}"
        bar.update(line, completed=progress.step, description=description, visible=True)
        tell(f"step {progress.step} of {steps}: {description}")

    return show


def _shown_losses(bar: Progress, steps: int) -> Callable[[ReaderReached], None]:
    line, tell = bar.add_task("training", total=steps, visible=False), plain_lines(bar.console)

    def show(progress: ReaderReached) -> None:
        held = progress.held_out_loss
        told = "" if held is None else f", of held-out texts {held:.3f}"
        description = f"loss {progress.loss:.3f}{told}"
        bar.update(line, completed=progress.step, description=description, visible=True)
        tell(f"step {progress.step} of {steps}: {description}")

    return show


def _summarise(report: TrainReport, console: Console) -> None:
    console.print(f"{report.steps} steps in {report.seconds / 60:.1f} minutes, {report.tokens:,} tokens.")
    if isnan(report.final_mrr):
        console.print("Not measured: no pair was held out, for there are fewer than ten different ones.")
    else:
        console.print(f"MRR of held-out pairs: {report.start_mrr:.3f} before, {report.final_mrr:.3f} after.")
    console.print(f"The model is in {report.folder} (fingerprint {report.fingerprint[:12]}).", soft_wrap=True)
    console.print(f"Learning curves: {report.curves}", soft_wrap=True)
    _write_summary(report, report.folder)


def _write_summary(report: TrainReport | VectorReaderReport, folder: Path) -> None:
    left_out = ("progress", "folder", "curves")
    summary = {key: value for key, value in asdict(report).items() if key not in left_out}
    known = {
        key: None if isinstance(value, float) and isnan(value) else value for key, value in summary.items()
    }
    (folder / "training.json").write_text(json.dumps(known, indent=1))
