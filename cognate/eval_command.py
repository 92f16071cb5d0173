"""The command `eval`: measures a model folder or a running server on data sets, and compares two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cognate.leaving import unwound_by_sigterm
from cognate.settings import read_settings
from cognate.terminal import Terminal
from core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:  # the heavy rooms are loaded when the command runs
    from core.ports.models import Encoder, LabelScorer
    from evaluation.datasets import DataSet
    from evaluation.results import Report
    from evaluation.systems import Progress as Shown
    from evaluation.systems import System

TIMEOUT_S = 120.0
SHIPPED = "cognate-small"


@dataclass(frozen=True, slots=True)
class Options:
    """How both systems compute: the first three are of model folders, the others of servers."""

    precision: str
    backend: str
    threads: int
    mode: str | None
    api_key: str

    def of_folder(self) -> dict[str, str]:
        precision = {"torch": "f32", "cuda": "bf16"}.get(self.backend, self.precision)
        return {"backend": self.backend, "precision": precision}


def evaluate(
    paths: Annotated[
        list[Path], typer.Argument(help="BEIR folders, classification folders, or pairs {a, b, score}.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model folder, or URL of a running server.")
    ] = SHIPPED,
    compare: Annotated[
        str | None, typer.Option(help="Second model folder or URL, or a file that --json wrote.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all values, per query too.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split to measure.")] = "test",
    precision: Annotated[
        str, typer.Option(help="Arithmetic of the openvino backend: f32, bf16 or int8.")
    ] = "bf16",
    backend: Annotated[str, typer.Option(help="openvino, torch or cuda.")] = "openvino",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the model; 0 takes all cores.")] = 0,
    mode: Annotated[
        str | None, typer.Option(help="Search mode of a server, such as dense or hybrid.")
    ] = None,
    api_key: Annotated[str, typer.Option(envvar="COGNATE_API_KEY", help="API key of the server.")] = "",
) -> None:
    """Measure a model or a running server on retrieval, similarity and classification data."""
    from evaluation.datasets import load_data_set
    from evaluation.results import read_report, require_place, write_report
    from evaluation.run import check_names
    from evaluation.tables import report_table

    console = Terminal()
    options = Options(precision, backend, threads, mode, api_key)
    if json_file is not None:
        require_place(json_file)
    data_sets = [load_data_set(path, split) for path in paths]
    check_names(data_sets)
    for name in (model, compare):
        _check_exists(name)
    is_file = compare is not None and compare.endswith(".json")
    theirs = read_report(Path(compare)) if compare is not None and is_file else None

    def keep(report: Report) -> None:
        """After each data set: a long evaluation that is stopped has not been in vain."""
        console.print(_summary(report), highlight=False)
        if json_file is not None:
            write_report(report, json_file)

    ours = _measure(model, options, data_sets, console, keep)
    console.print(report_table(ours))
    if compare is not None:
        theirs = theirs or _measure(compare, options, data_sets, console)
        more = _compare(ours, theirs, console)
        if json_file is not None:
            write_report(ours, json_file, **more)


def _summary(report: Report) -> str:
    """The last result on one line."""
    last = report.results[-1]
    measures = ", ".join(f"{measure.name} {measure.value:.4f}" for measure in last.measures[:2])
    return f"{last.data_set}: {measures} ({last.took_s:.1f} s)"


def _compare(ours: Report, theirs: Report, console: Console) -> dict[str, object]:
    """Prints both side by side; what of it is to be kept."""
    from evaluation.comparison import compare as compare_reports
    from evaluation.significance import METHOD
    from evaluation.tables import comparison_table

    differences = compare_reports(ours, theirs)
    console.print(comparison_table(ours, theirs, differences))
    return {
        "compared_with": asdict(theirs),
        "test": METHOD,
        "differences": [asdict(difference) for difference in differences],
    }


def _check_exists(model: str | None) -> None:
    """Before anything is measured, for that takes long."""
    if model is None or model == SHIPPED or _is_url(model) or Path(model).exists():
        return
    raise InvalidInput(
        f"{model} does not exist; name a model folder, a URL (http://...) or a report (.json)."
    )


def _is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _measure(
    model: str,
    options: Options,
    data_sets: list[DataSet],
    console: Console,
    on_result: Callable[[Report], None] = lambda _: None,
) -> Report:
    from evaluation.run import evaluate as run

    with (
        unwound_by_sigterm(),
        _open_server(model, options) if _is_url(model) else _open_folder(model, options) as system,
        _shown_progress(console) as show,
    ):
        return run(system, data_sets, show, on_result)


@contextmanager
def _open_folder(model: str, options: Options) -> Iterator[System]:
    from classifier.zero_shot import ZeroShotScorer
    from encoder.backends.openvino_backend import Precision
    from encoder.service import BackendName, load_encoder
    from evaluation.systems import EncoderSystem

    _check_choice("--backend", options.backend, [str(name) for name in BackendName])
    _check_choice("--precision", options.precision, [str(name) for name in Precision])
    folder = None if model == SHIPPED and not Path(model).exists() else Path(model)
    encoder = load_encoder(folder, options.backend, options.precision, options.threads)
    temperature = read_settings().zero_shot_temperature

    def make_scorer(inner: Encoder) -> LabelScorer:
        return ZeroShotScorer(inner, temperature)

    try:
        settings = options.of_folder()
        yield EncoderSystem(" ".join([model, *settings.values()]), encoder, make_scorer, settings)
    finally:
        encoder.close()


@contextmanager
def _open_server(url: str, options: Options) -> Iterator[System]:
    from evaluation.server import ServerSystem

    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:

        def send(method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
            try:
                return http.request(method, path, json=body)
            except httpx.TransportError as error:
                raise Unavailable(
                    f"No answer from {url} ({type(error).__name__}); is the server running there?"
                ) from None

        yield ServerSystem(f"{url} {options.mode or ''}".strip(), send, options.mode)


def _check_choice(option: str, found: str, known: list[str]) -> None:
    if found not in known:
        raise InvalidInput(f"{option} is {found!r}; use {' or '.join(known)}.")


@contextmanager
def _shown_progress(console: Console) -> Iterator[Shown]:
    """A bar for each piece of work, gone at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        lines: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in lines:
                lines[what] = bar.add_task(what, total=total)
            bar.update(lines[what], completed=done, visible=done < total)

        yield show
