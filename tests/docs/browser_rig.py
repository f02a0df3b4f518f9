"""A Chromium without a window that opens pages: what they look like, what they load, what goes wrong on them."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --remote-debugging-port=0".split()


def chromium():
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """Use as ``with Browser() as browser: browser.open(url, 1440, "dark")``; one page at a time."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [chromium(), *FLAGS, f"--user-data-dir={self.folder.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.loop = asyncio.new_event_loop()
        self.number = 0
        self.events = []
        self.socket = self.loop.run_until_complete(self._connect())
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        # a page remembers the scheme in which it was opened before
        self.call("Page.addScriptToEvaluateOnNewDocument", source="try { localStorage.clear() } catch (error) {}")
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait(30)
        self.socket.close()
        self.loop.close()
        self.folder.cleanup()

    async def _connect(self):
        from tornado.httpclient import AsyncHTTPClient
        from tornado.websocket import websocket_connect

        active, end = Path(self.folder.name) / "DevToolsActivePort", time.monotonic() + 120
        while not (active.is_file() and active.read_text()):
            assert time.monotonic() < end, "Chromium did not start"
            await asyncio.sleep(0.1)
        port = active.read_text().split()[0]
        listing = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
        page = next(each for each in json.loads(listing.body) if each["type"] == "page")
        return await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=2**28)

    def call(self, method, **params):
        """A command of the DevTools protocol; returns its result."""
        return self.loop.run_until_complete(asyncio.wait_for(self._call(method, params), 120))

    async def _call(self, method, params):
        self.number += 1
        await self.socket.write_message(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(await self.socket.read_message())
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def value(self, expression):
        """The value of a JavaScript expression on the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return result["result"].get("value")

    def until(self, expression, seconds=60):
        """Wait until an expression is true on the page; returns its value."""
        end = time.monotonic() + seconds
        while True:
            found = self.value(expression)
            if found:
                return found
            assert time.monotonic() < end, f"after {seconds} s still not: {expression}"
            time.sleep(0.1)

    def open(self, url, width, scheme, height=900):
        """Open a page at a width, for a reader who prefers a "light" or "dark" scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url="about:blank")
        self.until("location.href == 'about:blank'")
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState == 'complete' && location.href.startsWith({json.dumps(url.split('?')[0])})")

    def errors(self):
        """What the page complained about since it was opened."""
        said = []
        for event in self.events:
            name, about = event.get("method"), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                said.append(str(about["exceptionDetails"]))
            elif name == "Log.entryAdded" and about["entry"]["level"] == "error":
                said.append(about["entry"]["text"] + " " + about["entry"].get("url", ""))
            elif name == "Runtime.consoleAPICalled" and about["type"] == "error":
                said.append(str(about["args"]))
        return said

    def requested(self):
        """The addresses that the page asked for since it was opened."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def picture(self, file):
        """Write a picture of the page, to its end but at most 6000 pixels of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
