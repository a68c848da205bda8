#!/usr/bin/env python3
"""Looks at the dashboard of `mds serve` in Debian's Chromium, as a person would, and fails where it does not show what is so.

    apt-get install chromium chromium-driver npm
    cargo build && tests/dashboard.py [--picture FILE.png]

It is no part of the test suite: a browser is 300 MB. Run it when the page, or what the page asks for, has changed. It sees
the levels go from ok over soft and hard to ok on a store that another process holds up, the page go on after a restart, a
token asked for, nothing on the console, and no violation that axe-core knows, light and dark, wide and narrow. With
--picture it writes the picture of the README.
"""

import argparse, base64, contextlib, json, os, pathlib, shutil, signal, socket, sqlite3, subprocess, sys, tempfile
import time, urllib.error, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 30  # seconds
CAPACITY = 2_000


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.read().decode()[:2000]}")


def until(what, holds):
    began = time.monotonic()
    while not (found := holds()):
        if time.monotonic() - began > PATIENCE:
            sys.exit(f"it never came true: {what}")
        time.sleep(0.05)
    return found


class Browser:
    """Chromium, by its driver."""

    def __init__(self, stack):
        port = free_port()
        driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(driver.terminate)
        self.at = f"http://127.0.0.1:{port}"

        def is_ready():
            with contextlib.suppress(OSError):
                return ask(f"{self.at}/status")["value"]["ready"]

        until("chromedriver answers", is_ready)
        arguments = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking "
        arguments += "--disable-component-update --disable-sync --hide-scrollbars"
        options = {"args": arguments.split(), "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = ask(f"{self.at}/session", {"capabilities": {"alwaysMatch": wanted}})["value"]["sessionId"]
        self.at += f"/session/{session}"
        stack.callback(lambda: ask(self.at, method="DELETE"))

    def open(self, url):
        ask(f"{self.at}/url", {"url": url})

    def run(self, script, *arguments):
        return ask(f"{self.at}/execute/sync", {"script": script, "args": list(arguments)})["value"]

    def run_until_done(self, script):
        return ask(f"{self.at}/execute/async", {"script": script, "args": []})["value"]

    def devtools(self, command, **parameters):
        ask(f"{self.at}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def shape(self, width, height, scheme):
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def console(self):
        entries = ask(f"{self.at}/se/log", {"type": "browser"})["value"]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, file):
        pathlib.Path(file).write_bytes(base64.b64decode(ask(f"{self.at}/screenshot")["value"]))

    def level(self, coordinator_id):
        return self.run(
            "return [...document.querySelectorAll('#overview tr')].find((row) => row.cells[0].textContent === arguments[0])"
            "?.querySelector('.level').textContent",
            coordinator_id,
        )

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)


class Service:
    def __init__(self, stack, binary, directory):
        self.binary, self.directory, self.port, self.child = binary, directory, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        stack.callback(lambda: self.child and self.child.kill())

    def start(self, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MDS_")}
        own = {"MDS_HTTP_BIND": f"127.0.0.1:{self.port}", "MDS_COORDINATOR_CAPACITY": str(CAPACITY),
               "MDS_COORDINATOR_BATCH_SIZE": "50"}
        self.child = subprocess.Popen([self.binary, "serve"], cwd=self.directory, env=kept | own | variables,
                                      stderr=subprocess.DEVNULL)

        def is_ready():
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(f"{self.url}/readyz", timeout=PATIENCE).status == 200

        until("the service is ready", is_ready)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        if self.child.wait(PATIENCE) != 0:
            sys.exit("the service did not end well")

    def post(self, first, count):
        bar = '{{"symbol":"S{}","timeframe":"1s","ts":{},"open":1,"high":2,"low":1,"close":1.5,"vendor":"test"}}\n'
        body = "".join(bar.format(at % 97, 1_700_000_000 + at) for at in range(first, first + count)).encode()
        request = urllib.request.Request(f"{self.url}/v1/records/bars?ack=queued", body, {"Content-Type": "application/x-ndjson"})
        urllib.request.urlopen(request, timeout=PATIENCE).read()

    def locked(self):
        database = sqlite3.connect(pathlib.Path(self.directory) / "market_data.db", timeout=PATIENCE)
        database.execute("BEGIN IMMEDIATE")
        return database


def axe():
    """Gets the source of axe-core."""
    to = ROOT / "target" / "axe"
    script = to / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        to.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(to),
                        "axe-core@4"], check=True)
    return script.read_text()


def check_accessibility(browser, source, what):
    for width, height, scheme in [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]:
        browser.shape(width, height, scheme)
        found = browser.run_until_done(f"{source}; const done = arguments[arguments.length - 1];"
                                       "axe.run(document).then((found) => done(found.violations), (error) => done([String(error)]))")
        if found:
            sys.exit(f"{what}, {scheme}, {width} wide: {json.dumps(found, indent=1)[:4000]}")
        if browser.run("return document.documentElement.scrollWidth > innerWidth"):
            sys.exit(f"{what}: the page is wider than a window of {width}")


def take_picture(browser, service, file):
    """Shows a store that is held up again and again, at hard."""
    at = 100_000
    for wave in range(16):
        held = service.locked()
        for _ in range(6):
            service.post(at, CAPACITY // 6 if wave % 3 == 0 else CAPACITY // 9)
            at += CAPACITY // 6
            time.sleep(0.3)
        if wave == 15:
            until("bars are hard", lambda: browser.level("bars") == "hard")
            browser.shape(1280, 745, "light")
            browser.picture(file)
        held.commit()
        # Sooner than the circuit opens.
        until("the queue is empty", lambda: browser.level("bars") == "ok")
        time.sleep(1.5)
    until("bars are ok", lambda: browser.level("bars") == "ok")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default=ROOT / "target" / "debug" / "mds")
    arguments.add_argument("--picture", help="write the picture of the README into this file")
    arguments.add_argument("--pictures", help="write a picture of each shape into this directory")
    arguments = arguments.parse_args()
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not there: apt-get install chromium chromium-driver")
    source = axe()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        service = Service(stack, arguments.binary, directory)
        service.start()
        browser = Browser(stack)
        browser.shape(1280, 900, "light")
        browser.open(f"{service.url}/")
        until("bars are ok", lambda: browser.level("bars") == "ok")
        # A burst that is stored, so that the chart has a slope; then a store that is held up.
        at = 0
        for _ in range(5):
            service.post(at, 300)
            at += 300
            time.sleep(0.4)
        held = service.locked()
        # The workers take 200 of them.
        service.post(at, CAPACITY * 65 // 100)
        at += CAPACITY * 65 // 100
        until("bars are soft", lambda: browser.level("bars") == "soft")
        time.sleep(3)
        service.post(at, CAPACITY * 35 // 100)
        until("bars are hard", lambda: browser.level("bars") == "hard")
        until("the event is listed", lambda: "hard" in browser.text("#events tr"))
        until("it is announced", lambda: "bars is hard" in browser.text("#announcement"))
        time.sleep(3)
        check_accessibility(browser, source, "at hard")
        if arguments.pictures:
            for width, height, scheme in [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]:
                browser.shape(width, height, scheme)
                browser.picture(f"{arguments.pictures}/hard-{scheme}-{width}.png")
        browser.shape(1280, 900, "light")
        held.commit()
        until("bars are ok again", lambda: browser.level("bars") == "ok")
        if arguments.picture:
            take_picture(browser, service, arguments.picture)
        if problems := browser.console():
            sys.exit(f"the console: {problems}")

        service.stop()
        until("the connection is lost", lambda: "trying again" in browser.text("#connection"))
        service.start()
        until("it is back", lambda: browser.text("#connection") == "Connected")
        service.post(0, 10)
        until("records come in", lambda: browser.run("return document.querySelector('[data-of=submitted]').textContent") == "10")
        # The browser itself says that no service listened, or that it was starting.
        expected = ("ERR_CONNECTION", "ERR_INCOMPLETE", "503 (Service Unavailable)")
        if problems := [text for text in browser.console() if not any(part in text for part in expected)]:
            sys.exit(f"the console after a restart: {problems}")

        service.stop()
        service.start(MDS_HTTP_READ_TOKEN="a-token-that-may-read")
        until("a token is asked for", lambda: browser.run("return !document.getElementById('token').hidden"))
        check_accessibility(browser, source, "with the question for a token")
        answer = ("document.getElementById('token-value').value = arguments[0];"
                  "document.querySelector('#token button').click()")
        browser.run(answer, "wrong")
        until("a wrong one is refused", lambda: "does not know" in browser.text("#token-problem"))
        browser.run(answer, "a-token-that-may-read")
        until("the right one is taken", lambda: browser.text("#connection") == "Connected")
        service.stop()
    print("the page shows what is so")


main()
