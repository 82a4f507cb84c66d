"""Chromium without a window, driven by the DevTools protocol over two pipes: no port, and no package."""

import base64
import json
import os
import shutil
import subprocess


class Browser:
    """One browser; `with` ends it."""

    def __init__(self, folder):
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        assert program, "there is no Chromium: make test-deps installs it"
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
            "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        # The protocol is spoken on descriptors 3 and 4.
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "browser", *command], pass_fds=(read, write),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self._buffer, self._number, self.events = b"", 0, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._send("Browser.close", {}, None)
        self._process.wait(timeout=20)
        os.close(self._write)
        os.close(self._read)

    def _send(self, method, parameters, session):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data):]
        return self._number

    def _receive(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has gone away"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        """The result of a command; events that come meanwhile are kept."""
        number = self._send(method, parameters, session)
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def wait(self, method, session):
        """The first event of a kind that was not yet taken."""
        while True:
            for place, message in enumerate(self.events):
                if message["method"] == method and message.get("sessionId") == session:
                    return self.events.pop(place)
            message = self._receive()
            if "method" in message:
                self.events.append(message)

    def open(self, path, width=1280, height=900, scheme="light", script=True):
        """A page of a file, loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, target, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setScriptExecutionDisabled", value=not script)
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        page.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.call("Page.navigate", url=path.as_uri())
        self.wait("Page.loadEventFired", page.session)
        return page


class Page:
    """One page."""

    def __init__(self, browser, target, session):
        self._browser, self._target, self.session = browser, target, session

    def call(self, method, **parameters):
        return self._browser.call(method, self.session, **parameters)

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)

    def events(self, *methods):
        """The parameters of events of some kinds so far."""
        self.call("Runtime.evaluate", expression="0")
        return [
            event["params"] for event in self._browser.events
            if event.get("sessionId") == self.session and event["method"] in methods]

    def evaluate(self, expression):
        """The value of an expression of JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key, code=0, text=None):
        """Presses and releases a key."""
        keys = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        if text:
            keys["text"] = text
        self.call("Input.dispatchKeyEvent", type="keyDown", **keys)
        self.call("Input.dispatchKeyEvent", type="keyUp", **keys)

    def screenshot(self, path, clip=None):
        """The whole page, or a part of it by (x, y, width, height), as a PNG."""
        if clip is None:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = (0, 0, size["width"], size["height"])
        box = dict(zip(("x", "y", "width", "height"), clip), scale=1)
        data = self.call("Page.captureScreenshot", format="png", clip=box, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
