"""Receives the level changes of a store, with the standard library alone:

    MDS_FB_HTTP_SECRET=whsec_... python3 examples/receiver.py 8080
"""

import base64, hmac, json, os, sys, threading, time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = os.environ["MDS_FB_HTTP_SECRET"].split(",")  # several while one is being replaced
KEYS = [base64.b64decode(secret.strip().removeprefix("whsec_") + "==") for secret in SECRETS]
LEVELS = ["ok", "soft", "hard"]


@dataclass
class Instance:
    """One start of one process, and what it said last of a coordinator."""

    place: tuple  # epoch and seq
    said: tuple  # the id of the event, its level, its reason
    refresh: float  # the sender repeats it every so many seconds; None: it does not
    heard: float  # when it was said, or repeated
    state: str  # living, replaced by one that started later, silent, ended
    changed: float  # when `said` or `state` changed


names, acted_on = {}, {}  # by source and coordinator: the instances, and what was acted on last
lock = threading.Lock()  # or an older event could be acted on after a newer one


def hear(event):
    """Takes in an event. Returns how many instances of its name live."""
    name, instance, now = (event["source"], event["coordinator_id"]), event.get("instance"), time.monotonic()
    place, refresh = (event["epoch"], event["seq"]), event.get("refresh")
    instances = names.setdefault(name, {})
    known = instances.get(instance)
    if known and (place < known.place or (place == known.place and known.state == "ended")):
        return 0  # something newer came before
    ends = refresh is None and (event["reason"] == "draining" or bool(known and known.refresh))
    state = "ended" if ends else "living"
    if not known or known.place[0] < place[0]:
        for older in instances.values():
            if older.state == "living" and older.place[0] < place[0]:
                older.state = "replaced"
    if not known and len(instances) >= 32:  # restarts would use up the memory
        del instances[min(instances, key=lambda i: (instances[i].state == "living", instances[i].heard))]
    is_same = known and (known.place, known.state) == (place, state)
    said = (event["id"], event["level"], event["reason"])
    instances[instance] = Instance(place, said, refresh, now, state, known.changed if is_same else now)
    act(name)
    return sum(i.state == "living" for i in instances.values())


def let_go():
    """Lets go of the instances that were silent for three times their refresh."""
    now = time.monotonic()
    for name, instances in names.items():
        for i in instances.values():
            if i.state == "living" and i.refresh and now - i.heard >= 3 * i.refresh:
                i.state, i.said, i.changed = "silent", (i.said[0], "soft", "silent"), now
        act(name)


def act(name):
    """Acts on the highest level of the instances that live; if none does, on what became of the last one."""
    instances = names[name].values()
    living = [i for i in instances if i.state == "living"]
    counts = max(living or instances, key=lambda i: (LEVELS.index(i.said[1]) if living else 0, i.changed))
    if acted_on.get(name) != counts.said:
        acted_on[name] = counts.said
        # Here a producer would slow down, stop or go on.
        print(f"{name[0]}/{name[1]}: {counts.said[1]}, {counts.said[2]}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    timeout = 10  # seconds between two parts of a request

    def do_POST(self):
        id, sent, given = (self.headers.get("webhook-" + name, "") for name in ("id", "timestamp", "signature"))
        if not id or "." in id or not given or not sent.isdecimal() or abs(time.time() - int(sent)) > 300:
            return self.answer(401)  # whatever the body is
        length = int(self.headers.get("content-length", 0))
        if not 0 <= length <= 8192:
            return self.answer(413)
        body = self.rfile.read(length)
        signed = f"{id}.{sent}.".encode() + body
        known = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in KEYS]
        if not any(hmac.compare_digest(one, other.encode()) for one in known for other in given.split(" ")):
            return self.answer(401)
        with lock:
            living = hear(json.loads(body))
        self.answer(204, living)

    def answer(self, status, living=0):
        self.send_response(status)
        if living > 1:
            self.send_header("mds-conflict", str(living))
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()  # and closes the connection, as HTTP/1.0 does

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def service_actions(self):  # called twice a second
        with lock:
            let_go()


server = Server(("127.0.0.1", int(sys.argv[1])), Receiver)
print(f"listening on port {server.server_port}", flush=True)
server.serve_forever()
