"""Tries `microraptor node` with dcmtk and Orthanc: what docs/node.md promises, and 8 or more SIGKILLs.

    python tests/reference/node.py --binary target/release/microraptor --kills 8

Needs Python's standard library, and the programs of the Debian packages dcmtk and orthanc. Everything listens on the
loopback device, on ports that the system chooses. --only NAME runs one part.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import audit

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "dicom"
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.22"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, condition, seconds=60.0):
    """Waits for `condition`; its value."""
    end = time.time() + seconds
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    sys.exit(f"error: not within {seconds} s: {what}")


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


def identity(path):
    """SOP Class UID and SOP Instance UID of a DICOM file."""
    text = run("dcmdump", "-q", "+P", "0008,0016", "+P", "0008,0018", "-Un", path).stdout
    found = re.findall(r"UI \[([0-9.]+)\]", text)
    assert len(found) == 2, (path, text)
    return tuple(found)


PAGE = (ROOT / "docs" / "node.md").read_text()
# What docs/node.md shows: a configuration of Orthanc, and a script for it.
CONFIGURATION = json.loads(PAGE.split("```json\n")[1].split("```")[0])
ROUTE = PAGE.split("```lua\n")[1].split("```")[0]
SCHEMA = json.loads((ROOT / "docs" / "node-schema.json").read_text())["$defs"]


def check(event):
    """Whether a line has the fields that docs/node-schema.json says."""
    form = SCHEMA[event["event"]]
    assert set(form["required"]) <= set(event) <= set(form["properties"]), event
    for name, value in event.items():
        pattern = form["properties"][name].get("pattern")
        assert not pattern or re.fullmatch(pattern.strip("^$"), value), event


class Node:
    """`microraptor node`, and the lines that it printed in all its runs."""

    def __init__(self, trial, name, title, to, *options):
        self.trial, self.title, self.to, self.options = trial, title, to, options
        self.queue = trial.folder / name
        self.log = trial.folder / f"{name}.jsonl"
        self.audit = trial.folder / f"{name}.audit"
        self.errors = trial.folder / f"{name}.stderr"
        self.port = free_port()
        self.process = None

    def command(self):
        trial = self.trial
        command = [trial.binary, "node", "demo", "--head", trial.heads[0], "--head", trial.heads[1], "--threads", "1"]
        command += ["--aet", self.title, "--port", self.port, "--queue", self.queue, "--retry", "1"]
        command += ["--audit", self.audit]
        command += [] if "--reserve" in self.options else ["--reserve", "16MiB"]
        for to in self.to:
            command += ["--to", to]
        return [str(part) for part in command + list(self.options)]

    def start(self, wait=True):
        before = len(self.events("started"))
        environment = {**os.environ, **({"NOTIFY_SOCKET": str(self.notify)} if self.notify else {})}
        with open(self.log, "a") as out, open(self.errors, "a") as errors:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=errors, env=environment)
        if wait:
            until("the node starts", lambda: len(self.events("started")) > before or self.died())
        return self

    def died(self):
        if self.process.poll() is not None:
            sys.exit(f"error: the node ended with {self.process.returncode}: {self.errors.read_text()[-2000:]}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        assert code == 0, f"SIGTERM: exit code {code}: {self.errors.read_text()[-2000:]}"
        assert self.events()[-1]["event"] == "ended", self.events()[-1]
        for event in self.events():
            check(event)
        # Each object that was answered is in the audit log, at least once and without its name.
        lines, torn = audit.chain([self.audit])
        answers = [line for line in lines if line["event"] == "answer"]
        assert lines[-1]["event"] == "stop" and not torn and len(answers) >= len(self.events("answered")), lines[-1]
        logged = self.audit.read_text()
        assert not any(event["object"] in logged for event in self.events("answered"))

    def events(self, kind=None):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        # A kill may cut the last line of a run.
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                assert self.killable, line
        return [event for event in events if kind in (None, event["event"])]

    # Whether it is killed, and a socket to which it says what systemd hears.
    killable, notify = False, None

    def waits(self):
        """Objects that are queued or unsent, from the folder."""
        return [path for name in ("incoming", "outgoing") for path in (self.queue / name).iterdir()]

    def settle(self, seconds=60.0):
        until("the queue is empty", lambda: not self.waits() or self.died(), seconds)


class Orthanc:
    """Orthanc, configured as docs/node.md says."""

    def __init__(self, trial, title, modalities, script=None):
        self.folder = trial.folder / title
        self.folder.mkdir()
        self.title, self.port, self.http = title, free_port(), free_port()
        # Ports and folders are of this trial; nobody else is on this machine who would need a password.
        own = {"Name": title, "StorageDirectory": str(self.folder / "storage"), "IndexDirectory": str(self.folder / "index")}
        own |= {"HttpPort": self.http, "DicomAet": title, "DicomPort": self.port, "DicomModalities": modalities}
        self.configuration = CONFIGURATION | own | {"AuthenticationEnabled": False, "Plugins": []}
        if script:
            path = self.folder / "route.lua"
            path.write_text(script)
            self.configuration["LuaScripts"] = [str(path)]
        self.process = None

    def start(self):
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self.configuration, indent=2))
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(["Orthanc", "--verbose", str(path)], stdout=log, stderr=log)
        until(f"{self.title} starts", self.answers)
        return self

    def answers(self):
        try:
            return self.get("/system")
        except (urllib.error.URLError, ConnectionError):
            return None

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", body, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def upload(self, path):
        return self.post("/instances", pathlib.Path(path).read_bytes())["ID"]

    def instances(self):
        """SOP Class, SOP Instance and Study Instance UID of everything that it holds."""
        found = []
        for each in self.get("/instances"):
            tags = self.get(f"/instances/{each}/tags?short")
            found.append((tags["0008,0016"], tags["0008,0018"], tags["0020,000d"]))
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Receiver:
    """dcmtk's storescp, which keeps a file of each reception: twice the same object are two files."""

    def __init__(self, trial, name, port=None, *options):
        self.folder = trial.folder / name
        self.folder.mkdir(exist_ok=True)
        self.port, self.options = port or free_port(), options
        self.process = None

    def start(self):
        command = ["storescp", "-q", "+uf", "-aet", "RECEIVER", "-od", self.folder, *self.options, self.port]
        self.process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
        return self

    def received(self):
        return [identity(path) for path in self.folder.iterdir()]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def send(node, path, calling="SENDER", called=None, options=("-xe",)):
    """Sends a file with storescu; whether it saw the acknowledgement, and what it said."""
    command = ["storescu", "-v", *options, "-aet", calling, "-aec", called or node.title, "-to", "10", "127.0.0.1", node.port, path]
    said = run(*command)
    text = said.stdout + said.stderr
    return "Received Store Response (Success)" in text, text


class Trial:
    def __init__(self, folder, binary):
        self.folder, self.binary = folder, binary
        self.running = []
        done = run(binary, "demo", "-o", folder / "demo", "--phantoms", 12, "--seed", 11, "--sizes", 64)
        assert done.returncode == 0, done.stderr
        self.heads = [folder / "demo" / "lesion.safetensors", folder / "demo" / "class.safetensors"]
        self.count = 0

    def uid(self):
        self.count += 1
        return f"1.2.826.0.1.3680043.8.498.77.{os.getpid()}.{self.count}"

    def copies(self, source, count, folder):
        """Copies of a DICOM file as a device would send them: each an instance of its own, of one study and patient."""
        folder = self.folder / folder
        folder.mkdir(exist_ok=True)
        study, series, paths = self.uid(), self.uid(), []
        for _ in range(count):
            instance = self.uid()
            path = folder / f"{source.stem}-{self.count:04d}.dcm"
            shutil.copy(source, path)
            values = {"0008,0018": instance, "0020,000d": study, "0020,000e": series, "0010,0010": "Trial^Patient", "0010,0020": "T1"}
            changes = [part for tag, value in values.items() for part in ("-i", f"({tag})={value}")]
            done = run("dcmodify", "-nb", *changes, path)
            assert done.returncode == 0, done.stderr
            paths.append(path)
        return paths

    def keep(self, started):
        self.running.append(started)
        return started

    def close(self):
        for each in self.running:
            if each.process and each.process.poll() is None:
                each.process.kill()
                each.process.wait()


# A file that the demonstration's heads answer.
SOURCE = GOLDEN / "exact.dcm"


def real():
    """Files of real devices, if the folder of them is there, as it is in CI."""
    folder = pathlib.Path(os.environ.get("MICRORAPTOR_SHARED", ROOT / ".." / "shared")) / "data" / "dicom"
    names = {"US1_UNCR.dcm": "-xe", "OBXXXX1A_rle.dcm": "-xr", "JPGLosslessP14SV1_1s_1f_8b.dcm": "-xs", "US1_J2KI.dcm": "-xw"}
    found = [(folder / name, [option]) for name, option in names.items() if (folder / name).exists()]
    assert found or not os.environ.get("CI"), f"{folder} is not there (set MICRORAPTOR_SHARED)"
    return found


def rules(trial):
    """Who may call, what is refused, with dcmtk as the peer on both sides."""
    receiver = trial.keep(Receiver(trial, "rules-received").start())
    node = Node(trial, "rules", "RAPTOR", [f"RECEIVER@127.0.0.1:{receiver.port}"], "--allow", "SENDER", "--max-object", "4MiB")
    node.notify = trial.folder / "notify"
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(node.notify))
    systemd.settimeout(10)
    trial.keep(node.start())
    assert systemd.recv(999).strip() == b"READY=1"
    assert systemd.recv(999).startswith(b"WATCHDOG=1\nSTATUS=0 objects answered")
    threading.Thread(target=drain, args=(systemd, said_last := []), daemon=True).start()
    echo = lambda calling, called: run("echoscu", "-v", "-aet", calling, "-aec", called, "127.0.0.1", node.port)
    assert echo("SENDER", "RAPTOR").returncode == 0
    said = echo("STRANGER", "RAPTOR")
    assert said.returncode != 0 and "Calling AE Title Not Recognized" in said.stderr + said.stdout, said
    said = echo("SENDER", "OTHER")
    assert said.returncode != 0 and "Called AE Title Not Recognized" in said.stderr + said.stdout, said

    answered = {}
    made = {"exact": "-xe", "big_endian16": "-xb", "rle_ybr": "-xr", "j2k_signed": "-xv", "jpeg_rgb": "-xy"}
    made = [(trial.copies(GOLDEN / f"{name}.dcm", 1, "rules-sources")[0], [option]) for name, option in made.items()]
    for path, options in made + real():
        stored, text = send(node, path, options=options)
        assert stored, (path, text)
        answered[identity(path)[1]] = path
    for _ in range(2):
        assert send(node, made[0][0])[0], "a duplicate is acknowledged"
    # A result sent back is a class that is not answered.
    done = run(trial.binary, "predict", "demo", "--head", trial.heads[0], "--dicom", trial.folder / "own", made[0][0])
    assert done.returncode == 0, done.stderr
    result = next((trial.folder / "own").glob("*.seg.dcm"))
    stored, text = send(node, result)
    assert not stored and "No presentation context" in text, text
    large = trial.copies(SOURCE, 1, "large")[0]
    run("dcmodify", "-nb", "-i", "(0009,0010)=TRIAL", "-if", f"(0009,1001)={random_file(trial, 6 << 20)}", large)
    assert large.stat().st_size > 5 << 20, large.stat()
    stored, text = send(node, large)
    assert not stored and "OutOfResources" in text, text
    # Text of a patient is in none of the lines.
    failures = node.events("failed")
    assert not failures, failures
    node.settle()
    received = collections.Counter(receiver.received())
    assert set(received.values()) == {1}, received
    kinds = collections.Counter(kind for kind, _ in received)
    assert kinds == {SEG: len(answered), SR: len(answered)}, kinds
    for path in sorted(receiver.folder.iterdir())[:2]:
        assert run("dcmdump", "-q", path).returncode == 0
    assert [event["duplicate"] for event in node.events("stored")].count(True) == 2
    assert {"status": "A700"}.items() <= node.events("refused")[-1].items(), node.events("refused")[-1]
    names = [run("dcmdump", "-q", "+P", "0010,0010", path).stdout for path in answered.values()]
    names = [found for name in names for found in re.findall(r"PN \[(.+?)\]", name)]
    assert names and not any(name in node.log.read_text() for name in names), names
    node.stop()
    until("systemd is told", lambda: said_last[-1:] == [b"STOPPING=1"], 5)
    receiver.stop()
    return {"objects": len(answered), "results": sum(received.values())}


def drain(systemd, said):
    systemd.settimeout(None)
    while True:
        said.append(systemd.recv(999).strip())


def random_file(trial, size):
    path = trial.folder / "random"
    path.write_bytes(random.Random(1).randbytes(size))
    return path


def down(trial):
    """A destination that is down for a while, over a restart of the node; another one is not held up by it."""
    port = free_port()
    up = trial.keep(Receiver(trial, "down-up").start())
    node = Node(trial, "down", "RAPTOR", [f"RECEIVER@127.0.0.1:{port}", f"RECEIVER@127.0.0.1:{up.port}"])
    trial.keep(node.start())
    paths = trial.copies(SOURCE, 3, "down-sources")
    for path in paths:
        assert send(node, path)[0]
    until("the other destination has all", lambda: len(list(up.folder.iterdir())) == 6)
    until("a try fails", lambda: node.events("unsent"))
    node.stop()
    assert node.events()[-1]["unsent"] == 3, node.events()[-1]
    node.start()
    late = trial.keep(Receiver(trial, "down-late", port).start())
    node.settle()
    assert sorted(late.received()) == sorted(up.received()) and len(late.received()) == 6
    assert not any(event["again"] for event in node.events("sent"))
    # What is done is not answered again after a restart either.
    node.stop()
    node.start()
    assert send(node, paths[0])[0]
    assert node.events("stored")[-1]["duplicate"]
    node.stop()
    for receiver in (up, late):
        receiver.stop()
    return {"objects": 3, "results": 12}


def full(trial):
    """A disk that is full: of a node that keeps space free, and of one that does not."""
    receiver = trial.keep(Receiver(trial, "full-received").start())
    found = {}
    for name, reserve, megabytes in [("kept", "6MiB", 3), ("unkept", "0", 9)]:
        node = Node(trial, f"full-{name}", "RAPTOR", [f"RECEIVER@127.0.0.1:{receiver.port}"], "--reserve", reserve)
        node.queue.mkdir()
        mounted = run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", node.queue)
        if mounted.returncode != 0:
            assert not os.environ.get("CI"), mounted.stderr
            return {"not tested": "no file system can be mounted here"}
        try:
            trial.keep(node.start())
            path = trial.copies(SOURCE, 1, f"full-{name}-sources")[0]
            ballast = node.queue / "ballast"
            if name == "kept":
                ballast.write_bytes(bytes(megabytes << 20))
                stored, text = send(node, path)
            else:
                large = trial.copies(SOURCE, 1, f"full-{name}-sources")[0]
                run("dcmodify", "-nb", "-i", "(0009,0010)=TRIAL", "-if", f"(0009,1001)={random_file(trial, megabytes << 20)}", large)
                stored, text = send(node, large)
            assert not stored and "OutOfResources" in text, text
            assert not list((node.queue / "tmp").iterdir()) and not node.waits()
            ballast.unlink(missing_ok=True)
            assert send(node, path)[0]
            node.settle()
            node.stop()
            found[name] = [f"{event['status']} {event['reason']}" for event in node.events("refused")]
        finally:
            node.process.kill()
            node.process.wait()
            run("umount", node.queue)
    assert len(receiver.received()) == 4
    receiver.stop()
    return found


def orthanc(trial):
    """Orthanc sends a study to the node, and gets the results back into it."""
    node = Node(trial, "orthanc", "RAPTOR", [], "--allow", "ORTHANC")
    archive = Orthanc(trial, "ORTHANC", {"raptor": {"AET": "RAPTOR", "Host": "127.0.0.1", "Port": node.port}})
    node.to = [f"ORTHANC@127.0.0.1:{archive.port}"]
    trial.keep(archive.start())
    trial.keep(node.start())
    archive.post("/modalities/raptor/echo", b"{}")
    names = ["exact", "rle_ybr", "j2k_signed", "monochrome1"]
    paths = [trial.copies(GOLDEN / f"{name}.dcm", 1, "orthanc-sources")[0] for name in names]
    paths += [path for path, _ in real()]
    sources = [identity(path)[1] for path in paths]
    for path in paths:
        archive.post("/modalities/raptor/store", archive.upload(path).encode())
    until("the results are there", lambda: len(archive.get("/instances")) == 3 * len(paths))
    node.settle()
    held = archive.instances()
    studies = {uid: study for _, uid, study in held}
    for uid in sources:
        of_study = collections.Counter(kind for kind, _, study in held if study == studies[uid])
        of_sources = sum(studies[other] == studies[uid] for other in sources)
        assert of_study[SEG] == of_study[SR] == of_sources, (uid, of_study)
    kinds = collections.Counter(kind for kind, _, _ in held)
    assert kinds[SEG] == kinds[SR] == len(paths), kinds
    # Sent again, it is acknowledged, and the archive holds what it held.
    first = next(each for each in archive.get("/instances") if archive.get(f"/instances/{each}/tags?short")["0008,0018"] == sources[0])
    archive.post("/modalities/raptor/store", first.encode())
    until("a duplicate is seen", lambda: [event for event in node.events("stored") if event["duplicate"]])
    node.settle()
    assert len(archive.get("/instances")) == 3 * len(paths)
    node.stop()
    archive.stop()
    return {"objects": len(paths), "results": 2 * len(paths)}


def routed(trial):
    """Two nodes behind one Orthanc, which gives each study to one of them by itself."""
    nodes = [Node(trial, f"routed-{n}", f"RAPTOR{n}", [], "--allow", "ORTHANC") for n in (1, 2)]
    modalities = {f"raptor{n}": {"AET": node.title, "Host": "127.0.0.1", "Port": node.port} for n, node in zip((1, 2), nodes)}
    modalities["sender"] = {"AET": "SENDER", "Host": "127.0.0.1", "Port": 1, "AllowStore": True, "AllowEcho": True}
    archive = Orthanc(trial, "ORTHANC-R", modalities, ROUTE)
    archive.configuration["DicomAet"] = archive.title = "ORTHANC"
    for node in nodes:
        node.to = [f"ORTHANC@127.0.0.1:{archive.port}"]
        trial.keep(node.start())
    trial.keep(archive.start())
    paths = trial.copies(SOURCE, 12, "routed-sources")
    for n, path in enumerate(paths):
        run("dcmodify", "-nb", "-m", f"(0020,000d)=1.2.826.0.1.3680043.8.498.78.{os.getpid()}.{n}", path)
        assert send(archive, path, called="ORTHANC")[0], path
    until("the results are there", lambda: len(archive.get("/instances")) == 3 * len(paths))
    for node in nodes:
        node.settle()
    held = archive.instances()
    by_study = collections.Counter(study for _, _, study in held)
    assert set(by_study.values()) == {3} and len(by_study) == len(paths), by_study
    shares = [len(node.events("answered")) for node in nodes]
    assert sum(shares) == len(paths) and min(shares) > 0, shares
    for node in nodes:
        node.stop()
    archive.stop()
    return {"objects": len(paths), "shares": shares}


def tls(trial):
    """Associations through TLS with certificates on both sides, with dcmtk; nothing without them."""
    if "node-tls" not in run(trial.binary, "--version", "--verbose").stdout:
        return {"not tested": "a build without the feature node-tls"}
    folder = trial.folder / "tls"
    folder.mkdir()
    subject = lambda name: ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-keyout", folder / "ca.key",
               "-out", folder / "ca.pem", "-subj", "/CN=Trial CA", "-addext", "basicConstraints=critical,CA:TRUE")
    assert made.returncode == 0, made.stderr
    for name in ("node", "peer"):
        made = run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr", *subject(name))
        assert made.returncode == 0, made.stderr
        made = run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
                   "-CAcreateserial", "-days", 2, "-copy_extensions", "copy", "-out", folder / f"{name}.pem")
        assert made.returncode == 0, made.stderr
    peer = ["+tls", folder / "peer.key", folder / "peer.pem", "+cf", folder / "ca.pem"]
    receiver = trial.keep(Receiver(trial, "tls-received", None, *peer).start())
    node = Node(trial, "tls-queue", "RAPTOR", [f"RECEIVER@127.0.0.1:{receiver.port}"], "--tls-cert", folder / "node.pem",
                "--tls-key", folder / "node.key", "--tls-ca", folder / "ca.pem")
    trial.keep(node.start())
    # Without TLS; with TLS and no certificate; and a connection that says nothing and goes.
    path = trial.copies(SOURCE, 1, "tls-sources")[0]
    assert not send(node, path)[0]
    assert not send(node, path, options=["-xe", "+tla", "-ic"])[0]
    socket.create_connection(("127.0.0.1", node.port)).close()
    stored, text = send(node, path, options=["-xe", *peer])
    assert stored, text
    node.settle()
    assert sorted(kind for kind, _ in receiver.received()) == [SEG, SR]
    before = cpu_seconds(node.process.pid)
    time.sleep(1)
    assert cpu_seconds(node.process.pid) - before < 0.5, "the node is busy with nothing"
    node.stop()
    receiver.stop()
    return {"objects": 1, "results": 2}


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kills(trial, count):
    """SIGKILL at random moments while objects come, are answered and are sent, to Orthanc and to storescp."""
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    node = Node(trial, "kills", "RAPTOR", [], "--allow", "SENDER")
    node.killable = True
    archive = Orthanc(trial, "ORTHANC-K", {"raptor": {"AET": "RAPTOR", "Host": "127.0.0.1", "Port": node.port}})
    trial.keep(archive.start())
    receiver = trial.keep(Receiver(trial, "kills-received").start())
    node.to = [f"ORTHANC-K@127.0.0.1:{archive.port}", f"RECEIVER@127.0.0.1:{receiver.port}"]
    paths = trial.copies(SOURCE, 24 + 5 * count, "kills-sources")
    waiting, lock, over = list(paths), threading.Lock(), threading.Event()
    acknowledged, refused, tries = set(), 0, 0

    def sender():
        nonlocal refused, tries
        while not over.is_set():
            with lock:
                if not waiting:
                    return
                path = waiting.pop(0)
            stored, _ = send(node, path)
            with lock:
                tries += 1
                if stored:
                    acknowledged.add(path)
                else:
                    refused += 1
                    waiting.append(path)
            if not stored:
                time.sleep(0.05)

    threads = [threading.Thread(target=sender, daemon=True) for _ in range(2)]
    trial.keep(node.start())
    for thread in threads:
        thread.start()
    done, in_flight = 0, 0
    while done < count:
        time.sleep(chance.uniform(0.05, 1.2))
        node.kill()
        done += 1
        in_flight += bool(node.waits())
        # Half of the time the next kill may come before it listens.
        node.start(wait=chance.random() < 0.8)
    node.kill()
    node.start()
    for thread in threads:
        thread.join(timeout=300)
        assert not thread.is_alive(), f"{len(waiting)} objects are not acknowledged"
    over.set()
    assert len(acknowledged) == len(paths)
    node.settle(300)
    node.stop()
    sources = {identity(path)[1] for path in paths}
    held = archive.instances()
    counts = collections.Counter(uid for _, uid, _ in held)
    assert set(counts.values()) <= {1}
    kinds = collections.Counter(kind for kind, _, _ in held)
    assert kinds == {SEG: len(paths), SR: len(paths)}, kinds
    received = collections.Counter(receiver.received())
    assert {uid for _, uid in received} == set(counts), "both destinations have the same results"
    answered = {event["object"] for event in node.events("answered")}
    assert sources >= answered
    again = [event for event in node.events("sent") if event["again"]]
    log = (archive.folder / "log").read_text(errors="replace")
    twice = sum(received.values()) - len(received)
    assert not node.events("failed"), node.events("failed")
    archive.stop()
    receiver.stop()
    return {
        "seed": seed,
        "kills": done + 1,
        "with_objects_in_the_queue": in_flight,
        "objects": len(paths),
        "calls_of_storescu": tries,
        "not_acknowledged": refused,
        "results_in_orthanc": sum(kinds.values()),
        "results_in_storescp": len(received),
        "received_twice_by_storescp": twice,
        "received_twice_by_orthanc": log.count("lready stored") or log.count("lready exist"),
        "found_by_the_node": {
            to.split("@")[0]: sum(event["to"] == to for event in node.events("present")) for to in node.to
        },
        "sent_again_by_the_node": {to.split("@")[0]: sum(event["to"] == to for event in again) for to in node.to},
    }


PARTS = {"rules": rules, "down": down, "full": full, "orthanc": orthanc, "routed": routed, "tls": tls, "kills": kills}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--work", help="folder to keep, instead of a temporary one")
    args = parser.parse_args()
    folder = pathlib.Path(args.work or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(folder, os.path.abspath(args.binary))
    try:
        for name, part in PARTS.items():
            if args.only and name not in args.only:
                continue
            start = time.time()
            found = part(trial, args.kills) if name == "kills" else part(trial)
            print(json.dumps({"part": name, **found, "seconds": round(time.time() - start, 1)}), flush=True)
    finally:
        trial.close()
        if not args.work:
            shutil.rmtree(folder, ignore_errors=True)


main()
