"""The official package of Standard Webhooks, for the tests: JSON questions on standard input, one a line, answers on
standard output."""

import json
import sys
from datetime import datetime, timezone

from standardwebhooks.webhooks import Webhook


def answer(question):
    webhook = Webhook(question["secret"])
    if question["ask"] == "sign":
        sent = datetime.fromtimestamp(question["timestamp"], timezone.utc)
        return webhook.sign(question["id"], sent, question["body"])
    try:
        webhook.verify(question["body"], question["headers"])
    except Exception as refused:  # of several kinds, by what is wrong
        return f"refused: {refused!r}"
    return "verified"


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
