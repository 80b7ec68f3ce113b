"""A browser without a window, spoken to over two pipes in its own protocol: no driver and no network are needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
FLAGS += ["--remote-debugging-pipe", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars"]


def chromium() -> str | None:
    """The browser of this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a browser.

    Args:
        program: Path of the browser.

    Attributes:
        complaints: What the console and the page's security policy said, and errors of scripts.
        requests: Addresses that were asked for.
    """

    def __init__(self, program: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._number, self._profile, self._rest = 0, mkdtemp(), b""
        ours, theirs = os.pipe(), os.pipe()
        # the protocol is spoken on the descriptors 3 and 4
        script = f'exec 3<&{ours[0]} 4>&{theirs[1]}; exec "$@"'
        flags = [*FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        command = ["bash", "-c", script, "bash", program, *flags]
        self._process = subprocess.Popen(command, pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL)
        os.close(ours[0])
        os.close(theirs[1])
        self._write, self._read = ours[1], theirs[0]
        self._session: str | None = None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{part}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """What a method of the protocol answers."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        asked |= {} if self._session is None else {"sessionId": self._session}
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        params = message.get("params", {})
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return message

    def open(self, page: Path) -> None:
        """Show a file."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self.ask("document.readyState") != "complete":
            pass

    def ask(self, expression: str) -> Any:
        """Value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            said = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **said)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        box = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({selector}.getBoundingClientRect())"
        self.ask(f"{selector}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.ask(box)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        """End the browser."""
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)
