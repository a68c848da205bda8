"""Receives the level changes of a store, with the standard library alone:

    MDS_FB_HTTP_SECRET=whsec_... python3 examples/receiver.py 8080
"""

import base64, hmac, json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = os.environ["MDS_FB_HTTP_SECRET"].split(",")  # several while one is being replaced
KEYS = [base64.b64decode(secret.strip().removeprefix("whsec_") + "==") for secret in SECRETS]
newest, lock = {}, threading.Lock()


def is_signed(headers, body):
    id, sent, given = (headers.get("webhook-" + name, "") for name in ("id", "timestamp", "signature"))
    if not id or "." in id or not sent.isdecimal() or abs(time.time() - int(sent)) > 300:
        return False
    signed = f"{id}.{sent}.".encode() + body
    known = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in KEYS]
    return any(hmac.compare_digest(one, other.encode()) for one in known for other in given.split(" "))


def act(event):
    """Acts on an event, unless it was sent again or overtaken. Under the lock, or an older one could act last."""
    coordinator, place = (event["source"], event["coordinator_id"]), (event["epoch"], event["seq"])
    with lock:
        if place > newest.get(coordinator, (0, 0)):
            newest[coordinator] = place
            # Here a producer would slow down, stop or go on.
            print(f"{event['source']}/{event['coordinator_id']}: {event['level']}, {event['reason']}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    timeout = 10  # seconds between two parts of a request

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if not 0 <= length <= 65536:
            return self.answer(413)
        body = self.rfile.read(length)
        if not is_signed(self.headers, body):
            return self.answer(401)
        act(json.loads(body))
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
print(f"listening on port {server.server_port}", flush=True)
server.serve_forever()
