"""Looks at the page and the metrics of a running `microraptor stream` as a person and as Prometheus would.

    python tests/reference/live_page.py --binary target/release/microraptor [--pictures FOLDER]

A stream of phantoms runs at 30 frames a second; Chromium, without a screen, shows its page. What stands there of a frame
must be what the line of the same frame says, and its picture that frame; pause, steps, mask and why are tried by keys; a
source that stalls, pictures that are black or frozen, a program that hangs and one that ends must each be said. The
metrics are read by prometheus_client's parser and by promtool. Needs Chromium, prometheus_client, and promtool if it is
installed. `--pictures` keeps screenshots.
"""

import argparse
import base64
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

HERE = pathlib.Path(__file__).parent
FPS = 30


def soak():
    """The module with the reader of PNG files."""
    spec = importlib.util.spec_from_file_location("soak", HERE / "soak.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Chromium:
    """A browser without a screen, over the pipe of Chrome's DevTools protocol."""

    def __init__(self, program, folder):
        (to_read, self.to), (self.back, back) = os.pipe(), os.pipe()

        def descriptors():
            # Through others, since 3 and 4 may be among the four.
            high = [os.dup(to_read), os.dup(back)]
            high = [os.dup2(fd, 60 + i) for i, fd in enumerate(high)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "about:blank"]
        self.process = subprocess.Popen(command, preexec_fn=descriptors, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(back)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                part = os.read(self.back, 1 << 16)
                assert part, "Chromium has ended"
                self.rest += part
            text, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def key(self, key, code=None):
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, **(text if kind == "keyDown" else {}))

    def until(self, script, what, seconds=10.0):
        started = time.time()
        while not self.run(script):
            assert time.time() - started < seconds, f"{what}: {self.run(STATE)}"
            time.sleep(0.05)
        return time.time() - started

    def screen(self, width, height, dark, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path, whole=False):
        time.sleep(0.4)
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


# What stands on the page, in one reading.
STATE = """JSON.stringify({
  state: at('state').textContent, why: at('why').textContent,
  show: at('main').dataset.show, number: +at('number').textContent || 0, age: at('age').textContent,
  late: !at('late').hidden, backbone: at('backbone').textContent, head: at('headtime').textContent,
  size: at('size').textContent, seen: ['fresh', 'heads', 'times'].map((id) => getComputedStyle(at(id)).visibility).join(),
  opacity: Math.max(...['fresh', 'heads'].map((id) => +getComputedStyle(at(id)).opacity)), mask: getComputedStyle(at('mask')).display,
  heads: [...document.querySelectorAll('#heads article')].map((card) => ({
    head: card.querySelector('h2').textContent,
    says: (card.querySelector('.says b') || {}).textContent,
    ood: +(card.querySelector('[data-ood]') || {dataset: {}}).dataset.ood,
    meters: Object.fromEntries([...card.querySelectorAll('[role=meter]')].map((meter) =>
      [meter.getAttribute('aria-label'), +meter.getAttribute('aria-valuenow')])),
    written: [...card.querySelectorAll('[role=meter] + .value')].map((value) => value.textContent),
    areas: [...card.querySelectorAll('[data-pixels]')].map((area) => +area.dataset.pixels),
  })),
})"""

# Grey values of the picture that is shown, as it is decoded.
PIXELS = """(async () => {
  const image = at('picture');
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, Array.from({length: data.length / 4}, (_, i) => data[4 * i])];
})()"""


# Size and colours of the map that lies over it, of what is not transparent.
HEAT = """(async () => {
  const image = at('heat');
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 180) colours.add(data.slice(i, i + 3).join());
  return JSON.stringify([canvas.width, canvas.height, [...colours]]);
})()"""


class Stream:
    """The program, frames at 30 a second, and its lines."""

    def __init__(self, binary, heads, frames, options):
        command = [binary, "stream", "demo", *sum((["--head", str(head)] for head in heads), []), *options, "-"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.frames, self.lines, self.events, self.urls = frames, {}, [], {}
        self.sent, self.going, self.same, self.over = 0, True, None, False
        self.sizes = frames[0][:2]
        threading.Thread(target=self.read, daemon=True).start()
        self.feeder = threading.Thread(target=self.feed, daemon=True)
        self.feeder.start()

    def read(self):
        for line in self.process.stdout:
            line = json.loads(line)
            if line["event"] == "listening":
                self.urls[line["what"]] = line["url"]
            if line["event"] == "frame":
                self.lines[line["frame"]] = line
            else:
                self.events.append(line)

    def feed(self):
        pipe = self.process.stdin
        pipe.write(b"YUV4MPEG2 W%d H%d Ip Cmono XCOLORRANGE=FULL\n" % self.sizes)
        try:
            while not self.over:
                if self.going:
                    pipe.write(b"FRAME\n" + (self.same or self.frames[self.sent % len(self.frames)][2]))
                    pipe.flush()
                    self.sent += 1
                time.sleep(1 / FPS)
            pipe.close()
        except BrokenPipeError:
            pass

    def url(self, what):
        started = time.time()
        while what not in self.urls:
            assert time.time() - started < 30 and self.process.poll() is None, "no line says where"
            time.sleep(0.02)
        return self.urls[what]


def same_frame(shown, stream):
    """What is shown is what the line of that frame says."""
    line = stream.lines[shown["number"]]
    assert shown["age"] == f"{line['ms']['age']:.1f}" or abs(float(shown["age"]) - line["ms"]["age"]) <= 0.0501, (shown, line)
    assert abs(float(shown["backbone"]) - line["ms"]["backbone"]) <= 0.0501, (shown, line)
    assert abs(float(shown["head"]) - line["ms"]["head"]) <= 0.0501, (shown, line)
    assert shown["late"] == line["late"], (shown, line)
    assert len(shown["heads"]) == len(line["heads"]) == 2, shown
    for ours, theirs in zip(shown["heads"], line["heads"]):
        assert ours["head"] == pathlib.Path(theirs["head"]).stem, (ours, theirs)
        # To the last bit: both are the shortest decimals that stand for the same number.
        assert ours["meters"] == theirs.get("probabilities", {}), (ours, theirs)
        assert ours["written"] == [f"{p:.3f}" for p in theirs.get("probabilities", {}).values()], (ours, theirs)
        assert ours.get("says") == theirs.get("class"), (ours, theirs)
        assert ours["areas"] == [area["pixels"] for area in theirs.get("areas", {}).values()], (ours, theirs)
        assert ours["ood"] == (theirs.get("ood") or {}).get("score"), (ours, theirs)
    return line


def same_picture(browser, shown, stream):
    """The picture is that of the frame, but for what JPEG changes."""
    width, height, pixels = browser.run(PIXELS)
    frame = stream.frames[(shown["number"] - 1) % len(stream.frames)]
    assert (width, height) == frame[:2], (width, height)
    differences = [sum(abs(a - b) for a, b in zip(pixels, other[2])) / len(pixels) for other in stream.frames]
    here = differences[(shown["number"] - 1) % len(stream.frames)]
    assert here == min(differences) and here < 5, (here, differences)


def read_metrics(url, stream, head_digests):
    """Prometheus' own readers agree with the lines."""
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
        text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    one = lambda name: next(s.value for s in families[name].samples)
    total = lambda name: next(s.value for s in families[f"microraptor_{name}"].samples if s.name.endswith("_total"))
    frames = total("frames")
    assert frames >= 1 and frames == sum(total(f"frames_{name}") for name in ("answered", "withheld", "dropped", "lost")), text
    buckets = {s.labels["le"]: s.value for s in families["microraptor_age_seconds"].samples if s.name.endswith("_bucket")}
    assert families["microraptor_age_seconds"].type == "histogram"
    assert list(buckets.values()) == sorted(buckets.values()) and buckets["+Inf"] == total("frames_answered"), buckets
    # A scrape may come between a line and the next.
    answered = [line for line in list(stream.lines.values()) if "withheld" not in line][: int(total("frames_answered"))]
    if len(answered) == total("frames_answered") and not total("frames_dropped"):
        for bound, count in buckets.items():
            assert count == sum(line["ms"]["age"] <= 1e3 * float(bound) for line in answered), (bound, count)
    assert 1 << 20 < one("process_resident_memory_bytes") < 1 << 32 and one("microraptor_deadline_seconds") == 0.04
    assert {s.labels["sha256"] for s in families["microraptor_head_info"].samples} == head_digests
    build = families["microraptor_build_info"].samples[0].labels
    assert (build["model"], build["model_sha256"]) == ("demo", stream.events[0]["model"]["sha256"]), build
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)
    return families


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--pictures", type=pathlib.Path, help="a folder for screenshots")
    args = parser.parse_args()
    binary = os.path.abspath(args.binary)
    # Chromium may still write into its profile while that is removed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = pathlib.Path(folder)
        subprocess.run([binary, "demo", "-o", folder / "demo", "--phantoms", "24", "--seed", "3", "--sizes", "64"], check=True, capture_output=True)
        frames = [soak().grey(path) for path in sorted((folder / "demo/phantoms/images").glob("*.png"))]
        heads = [folder / "demo" / f"{name}.safetensors" for name in ("class", "lesion")]
        options = ["--deadline", "40", "--metrics", "0", "--live-page", "0", "--on-stall", "blank", "--stall", "1"]
        stream = Stream(binary, heads, frames, options)
        browser = Chromium(args.chromium, folder / "profile")
        try:
            look(stream, browser, folder, args.pictures)
        finally:
            browser.process.kill()
            stream.process.kill()


def look(stream, browser, folder, pictures):
    page = stream.url("live-page")
    assert page.startswith("http://127.0.0.1:") and page.endswith("/"), page
    keep = lambda name, **how: pictures and browser.picture(pictures / name, **how)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    state = lambda: json.loads(browser.run(STATE))
    browser.screen(1280, 800, dark=False)
    browser.call("Page.navigate", url=page)
    took = browser.until("typeof at === 'function' && at('state').textContent === 'LIVE'", "the page is live")
    print(f"live after {took:.2f} s")
    time.sleep(3)

    # Paused, values and picture are those of one frame; so they are one step back, and further back.
    for _ in range(3):
        browser.key(" ", "Space")
        shown = state()
        assert (shown["state"], shown["show"]) == ("PAUSED HERE", "paused") and f'frame {shown["number"]},' in shown["why"], shown
        same_frame(shown, stream)
        same_picture(browser, shown, stream)
        for _ in range(5):
            before = shown["number"]
            browser.key("ArrowLeft")
            shown = state()
            assert shown["number"] < before, (shown, before)
            same_frame(shown, stream)
        same_picture(browser, shown, stream)
        time.sleep(0.5)
        assert state()["number"] == shown["number"], "a paused picture stays"
        browser.key("ArrowRight")
        assert state()["number"] > shown["number"]
        browser.key(" ", "Space")
        browser.until(f"+at('number').textContent > {shown['number'] + 10}", "the page goes on")
    print("values and pictures of 18 paused frames are those of the lines and of the source")
    assert state()["mask"] != "none"
    browser.key("m")
    assert state()["mask"] == "none"
    browser.key("m")
    assert state()["mask"] != "none"

    digests = {head["sha256"] for head in next(iter(stream.lines.values()))["heads"]}
    families = read_metrics(stream.url("metrics"), stream, digests)
    assert families["microraptor_stalled"].samples[0].value == 0
    rebound = urllib.request.Request(page + "events", headers={"Host": "example.org"})
    try:
        urllib.request.urlopen(rebound)
        raise AssertionError("a request in another name is answered")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error

    for name, size in (("desktop", (1280, 800)), ("phone", (390, 844))):
        for dark in (False, True):
            browser.screen(*size, dark=dark, phone=name == "phone")
            time.sleep(0.3)
            wide = browser.run("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name}: {wide} px are cut off"
            keep(f"{name}-{'dark' if dark else 'light'}.png")
    keep("phone-whole.png", whole=True)
    browser.screen(1280, 800, dark=False)
    browser.key(" ", "Space")
    keep("paused.png")
    browser.key(" ", "Space")

    # Why: a map comes while it is asked for, and goes; the lines stay without.
    browser.key("w")
    browser.until("!at('heat').hidden && at('heat').complete && at('heat').naturalWidth > 0", "a map")
    width, height, colours = json.loads(browser.run(HEAT))
    assert [width, height] == browser.run("[at('picture').naturalWidth, at('picture').naturalHeight]")
    # A canvas rounds colours of what is translucent.
    near = lambda text, colour: all(abs(int(a) - b) <= 3 for a, b in zip(text.split(","), colour))
    assert colours and all(near(text, (213, 94, 0)) or near(text, (0, 114, 178)) for text in colours), colours
    legend = browser.run("at('legend').innerText")
    assert "no mask of a finding" in legend and browser.run("at('most').textContent.startsWith('+')"), legend
    for name, size in (("desktop", (1280, 800)), ("phone", (390, 844))):
        for dark in (False, True):
            browser.screen(*size, dark=dark, phone=name == "phone")
            time.sleep(0.3)
            wide = browser.run("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"why, {name}: {wide} px are cut off"
            keep(f"why-{name}-{'dark' if dark else 'light'}.png", whole=name == "phone")
    browser.screen(1280, 800, dark=False)
    browser.key("w")
    browser.until("at('heat').hidden && at('legend').hidden", "no map")
    assert all("explanation" not in head for line in list(stream.lines.values()) for head in line["heads"])

    # What is wrong is said.
    stream.same = bytes(len(stream.frames[0][2]))
    browser.until("at('state').textContent === 'NO SIGNAL'", "a black picture")
    shown = state()
    assert all(not head["meters"] and not head["areas"] for head in shown["heads"]), shown
    keep("black.png")
    stream.same = stream.frames[0][2]
    browser.until("at('state').textContent === 'FROZEN'", "a frozen picture")
    keep("frozen.png")
    stream.same = None
    browser.until("at('state').textContent === 'LIVE'", "live again")
    stream.going = False
    took = browser.until("at('state').textContent === 'STALLED'", "a source that stalls")
    shown = state()
    assert 0.9 < took < 1.6 and (shown["show"], shown["seen"]) == ("blank", "hidden,hidden,hidden"), (took, shown)
    keep("stalled.png")
    assert read_metrics(stream.url("metrics"), stream, digests)["microraptor_stalled"].samples[0].value == 1
    browser.key(" ", "Space")
    assert state()["seen"] == "hidden,hidden,hidden", "pausing does not bring a blanked picture back"
    browser.key(" ", "Space")
    stream.going = True
    browser.until("at('state').textContent === 'LIVE'", "live after a stall")
    # A program that hangs says nothing at all.
    stream.process.send_signal(signal.SIGSTOP)
    took = browser.until("at('state').textContent === 'NO CONNECTION'", "a program that hangs")
    shown = state()
    assert took < 3 and shown["show"] == "stale" and shown["opacity"] < 0.5, (took, shown)
    keep("hangs.png")
    stream.process.send_signal(signal.SIGCONT)
    browser.until("at('state').textContent === 'LIVE'", "live after a halt")
    # So does a script that has stopped: what is old fades without it.
    browser.run("for (let timer = setTimeout(() => 0); timer > 0; timer--) clearInterval(timer)")
    time.sleep(0.3)
    stream.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    assert state()["opacity"] == 1
    time.sleep(2.7)
    shown = state()
    assert shown["show"] == "live" and shown["opacity"] < 0.5, shown
    stream.process.send_signal(signal.SIGCONT)

    # Nothing names a file, and nothing was asked of anybody else.
    text = browser.run("document.documentElement.outerHTML")
    assert str(folder) not in text and ".safetensors" not in text and ".png" not in text
    stream.over = True
    stream.feeder.join()
    browser.until("at('state').textContent === 'ENDED'", "a stream that ends", 20)
    assert stream.process.wait(20) == 0
    keep("ended.png")
    loaded = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert loaded and all(url.startswith((page, "data:", "about:")) for url in loaded), loaded
    problems = [e["params"]["entry"]["text"] for e in browser.events if e.get("method") == "Log.entryAdded"]
    # The events end with the program; the page asks for them again.
    problems = [text for text in problems if "ERR_CONNECTION_REFUSED" not in text and "ERR_INCOMPLETE" not in text]
    assert not problems, problems
    assert not [e for e in browser.events if e.get("method") == "Runtime.exceptionThrown"]
    ages = [line["ms"]["age"] for line in stream.lines.values() if "withheld" not in line]
    print(f"{len(stream.lines)} frames; every state was said; median age {statistics.median(ages):.2f} ms, with the browser on the same cores")


main()
