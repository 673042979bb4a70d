"""Chromium over its DevTools protocol: opens a file as a screen of some width shows it, and tells what it loaded."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 60


class Browser:
    """A tab of a running browser."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=START_SECONDS, suppress_origin=True)
        self._last = 0
        self.requests: list[str] = []

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and note the requests that the page makes meanwhile."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self._last:
                assert "error" not in message, message
                return dict(message["result"])

    def open(self, page: Path, width: int, height: int = 900, *, phone: bool = False) -> None:
        """Show a page on a screen."""
        self.ask("Network.enable")
        self.ask("Page.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.ask("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + START_SECONDS
        while self.value("document.readyState + location.href") != f"complete{page.as_uri()}":
            assert time.monotonic() < deadline, "the page did not load"
            time.sleep(0.1)

    def value(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, file: Path) -> Path:
        """Write the whole page as a PNG."""
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        file.write_bytes(base64.b64decode(found["data"]))
        return file


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium without a window, and end it."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert program, "Chromium is needed: apt-get install chromium"
    with tempfile.TemporaryDirectory(prefix="litemill-chromium-", ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
        process = subprocess.Popen(
            [program, *flags, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Browser(_address(Path(profile) / "DevToolsActivePort"))
        finally:
            process.terminate()
            process.wait(30)


def _address(file: Path) -> str:
    """Of the first tab, once the browser has written where it listens."""
    deadline = time.monotonic() + START_SECONDS
    while not (file.is_file() and file.read_text().count("\n")):
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.1)
    port = file.read_text().splitlines()[0]
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START_SECONDS) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return str(tabs[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < deadline, "Chromium has no tab"
        time.sleep(0.1)
