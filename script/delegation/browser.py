"""Headless Chromium through chromedriver, by the WebDriver protocol (W3C), without scripts in its pages."""

import base64
import http.client
import json
import pathlib
import re
import subprocess

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SWITCHES = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--window-size=900,1100"]


class Browser:
    def __init__(self, profile):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            raise SystemExit("chromedriver ended before it listened")
        options = {"args": [*SWITCHES, f"--user-data-dir={profile}"],
                   "prefs": {"profile.managed_default_content_settings.javascript": 2}}
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.session = f"/session/{made['sessionId']}"

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['error']}: {value['message'][:300]}")
        return value

    def open(self, url):
        self.ask("POST", f"{self.session}/url", {"url": url})

    def at(self):
        return self.ask("GET", f"{self.session}/url")

    def find(self, selector):
        return [one[ELEMENT] for one in self.ask("POST", f"{self.session}/elements", {"using": "css selector", "value": selector})]

    def only(self, selector):
        found = self.find(selector)
        assert len(found) == 1, (selector, len(found), self.text())
        return f"{self.session}/element/{found[0]}"

    def text(self):
        return self.ask("GET", f"{self.only('body')}/text")

    def type(self, selector, text):
        self.ask("POST", f"{self.only(selector)}/clear", {})
        self.ask("POST", f"{self.only(selector)}/value", {"text": text})

    def click(self, selector):
        self.ask("POST", f"{self.only(selector)}/click", {})

    def picture(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.ask("GET", f"{self.session}/screenshot")))

    def close(self):
        try:
            self.ask("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()
