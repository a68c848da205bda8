"""Posts a file of bars to `mds serve` and does what it is asked: waits by Retry-After, goes on where the answer says, and
begins nothing while the level is hard. Python's standard library alone; a token comes from the variable MDS_TOKEN.

    python3 post_bars.py bars.csv "http://127.0.0.1:8080/v1/records/bars?symbol=SPX&timeframe=1d"
"""

import http.client, json, os, sys, threading, time, urllib.parse

path, url = sys.argv[1], urllib.parse.urlsplit(sys.argv[2])
headers = {"Authorization": "Bearer " + os.environ["MDS_TOKEN"]} if "MDS_TOKEN" in os.environ else {}
may_post = threading.Event()
may_post.set()


def follow():
    while True:
        try:
            connection = http.client.HTTPConnection(url.netloc, timeout=45)  # a heartbeat comes every 15 s
            connection.request("GET", "/v1/feedback/stream?coordinator=bars", headers=headers)
            for line in connection.getresponse():
                if line.startswith(b"data: "):
                    event = json.loads(line[len(b"data: "):])
                    print(f"level {event['level']}: {event['reason']}", file=sys.stderr)
                    (may_post.clear if event["level"] == "hard" else may_post.set)()
        except (OSError, http.client.HTTPException) as error:
            print(f"no stream: {error}", file=sys.stderr)
        may_post.set()  # the level is not known: the answers tell
        time.sleep(2)


threading.Thread(target=follow, daemon=True).start()
DONE = {200, 202, 400, 401, 403, 404, 413, 415, 422}
skip = status = bad = 0
while status not in DONE:
    may_post.wait(300)
    wait = 2.0
    try:
        connection = http.client.HTTPConnection(url.netloc, timeout=120)
        with open(path, "rb") as body:
            target = url.path + "?" + "&".join(filter(None, [url.query, f"skip={skip}"]))
            try:
                size = {"Content-Length": str(os.fstat(body.fileno()).st_size)}
                connection.request("POST", target, body, headers | size)
            except (BrokenPipeError, ConnectionResetError):
                pass  # an answer can come before the end of the body, which is not read then
            response = connection.getresponse()
            answer = json.loads(response.read())
        status, wait = response.status, float(response.getheader("Retry-After", wait))
        skip = max(skip, answer.get("resume_at", 0))
        bad += sum(answer.get(name, 0) for name in ("rejected_count", "dead_lettered", "dropped"))
        print(status, json.dumps(answer))
    except (OSError, ValueError, http.client.HTTPException) as error:
        # What was stored is stored again by its key, and is the same.
        status, _ = 0, print(f"no answer: {error}", file=sys.stderr)
    if status not in DONE:
        time.sleep(wait)
sys.exit(status not in (200, 202) or bad > 0)
