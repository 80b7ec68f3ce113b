"""The page of ``mer-zoo demo``, by gradio, on this machine alone.

Gradio's own page loads fonts and tells its makers of use unless it is told otherwise. It is told otherwise, and the
browser is told by a content security policy to ask no one but this page.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mer_zoo.clips.media import SUFFIXES
from mer_zoo.demo.desk import MOST_WORDS, Desk, Held
from mer_zoo.demo.predictor import Predictor
from mer_zoo.errors import MERError
from mer_zoo.sharing.card import INTENDED_USE
from mer_zoo.text import in_html, shown

__all__ = ["application", "listening", "room", "serve"]

HOST = "127.0.0.1"
ROOM = "GRADIO_TEMP_DIR"  # of the environment
LARGEST = "500mb"  # of a recording
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self' blob: data:;"
    " worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
ENVIRONMENT = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SHARE": "False", "GRADIO_RUN_HISTORY": "False"}


def application(predictor: Predictor, log: Callable[[str], object] = sys.stderr.write) -> Any:
    """The page as an application of ASGI.

    Args:
        predictor: The model.
        log: Told of errors of the program.

    Raises:
        MERError: If gradio is not installed.
    """
    gradio = _need_gradio()
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    style = files(__package__).joinpath("style.css").read_text("utf-8")
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    app.middleware("http")(_with_policy)
    # a page of somebody else that calls itself by a name for this machine gets nothing
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    fonts = [gradio.themes.Font("system-ui"), gradio.themes.Font("sans-serif")]
    theme = gradio.themes.Base(font=fonts, font_mono=[gradio.themes.Font("monospace")], radius_size="sm")
    return gradio.mount_gradio_app(
        app,
        _blocks(gradio, Desk(predictor, log)),
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=LARGEST,
        ssr_mode=False,
        theme=theme,
        css=style,
    )


async def _with_policy(request: Any, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _blocks(gradio: Any, desk: Desk) -> Any:
    model = desk.predictor.model
    with gradio.Blocks(title=f"{model.label} - mer-zoo demo", analytics_enabled=False, fill_width=False) as blocks:
        gradio.HTML(_heading(desk.predictor), elem_id="heading")
        held = gradio.State(Held())
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                clip = gradio.File(label="A recording: drop it here", file_types=list(SUFFIXES), elem_id="clip")
                voice = gradio.Audio(
                    label="Or speak", sources=["microphone"], type="filepath", editable=False, elem_id="voice"
                )
                text = gradio.Textbox(
                    label="What is said",
                    info="With a recording, or alone as a sentence.",
                    lines=2,
                    max_length=MOST_WORDS,
                    submit_btn=False,
                    elem_id="words",
                )
                modalities = gradio.CheckboxGroup(
                    list(model.spec.modalities),
                    value=list(model.spec.modalities),
                    label="What the model may use",
                    elem_id="modalities",
                )
                ask = gradio.Button("Predict", variant="primary", elem_id="ask")
            with gradio.Column(scale=3, min_width=360):
                result = gradio.HTML("", elem_id="answer", label="Answer")
        quiet = {"api_visibility": "private", "show_progress": "minimal"}

        def take(path: str | None, words: str, on: list[str]) -> tuple[Any, Held, str]:
            return (None, *desk.take(path, words, on))

        for given, happened in ((clip, clip.upload), (voice, voice.stop_recording)):
            happened(take, [given, text, modalities], [given, held, result], **quiet)
        for happened in (ask.click, text.submit):
            happened(desk.ask, [held, text, modalities], [held, result], **quiet)
        modalities.change(desk.show, [held, modalities], result, **quiet)
        gradio.HTML(f"<p>{in_html(INTENDED_USE)}</p>", elem_id="use")
    return blocks.queue(api_open=False, default_concurrency_limit=1)


def _heading(predictor: Predictor) -> str:
    model = predictor.model
    made = "; ".join(f"{key} by {model.made_by[key]}" for key in model.spec.modalities)
    return (
        f"<h1>{in_html(model.label)}</h1><p>{in_html(predictor.name)}. It reads {in_html(made)}. Nothing leaves this"
        " machine; a recording is deleted when it is read.</p>"
    )


def serve(
    predictor: Predictor, port: int = 0, browser: bool = True, tell: Callable[[str], object] = lambda _told: None
) -> None:
    """Serve the page until it is stopped.

    Args:
        predictor: The model.
        port: Where; 0 for any that is free.
        browser: Whether to open a browser.
        tell: Told the address.

    Raises:
        MERError: If gradio is not installed, or the port is taken.
    """
    with room(), listening(port) as line:
        app = application(predictor)
        import uvicorn  # gradio's, like what it serves with

        address = f"http://{HOST}:{line.getsockname()[1]}/"
        tell(f"the page is at {address}, for this machine alone; Ctrl+C ends it")
        sys.stdout.flush()
        if browser:
            webbrowser.open(address)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[line])


@contextmanager
def room(folder: Path | None = None) -> Iterator[None]:
    """Have uploads put into a folder of their own, which is gone in the end.

    Args:
        folder: The folder; None for a new one.
    """
    place = folder or Path(mkdtemp(prefix="mer-zoo-demo-"))
    before = os.environ.get(ROOM)
    os.environ[ROOM] = str(place)
    try:
        yield
    finally:
        os.environ.pop(ROOM)
        if before is not None:
            os.environ[ROOM] = before
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket of this machine alone.

    Args:
        port: Where; 0 for any that is free.

    Raises:
        MERError: If it is taken.
    """
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            line.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise MERError(f"port {port} can't be used ({shown(str(error))}); give another as --port") from None
        yield line


def _need_gradio() -> Any:
    """Gradio.

    Raises:
        MERError: If it is not installed.
    """
    os.environ.update(ENVIRONMENT)  # read when it is imported
    try:
        import gradio
    except ImportError:
        raise MERError("the page is made by gradio, which is not installed; pip install 'mer-zoo[demo]'") from None
    return gradio
