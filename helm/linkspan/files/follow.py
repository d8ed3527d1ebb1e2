"""``helm test``: sends the message of the values and follows it until it is delivered. Exit code 1: it was not."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

INGRESS = os.environ["INGRESS"]
BEGAN = time.monotonic()
LIMIT = BEGAN + float(os.environ["SECONDS"])
MESSAGE = Path("/etc/linkspan/test/message.json")
TRUST = ssl.create_default_context(cafile=os.environ.get("LINKSPAN_CA"))


def say(text):
    sys.stdout.write(f"{time.monotonic() - BEGAN:6.1f} s  {text}\n")
    sys.stdout.flush()


def give_up(text):
    say(text)
    sys.exit(1)


def ask(method, path, body=None, headers=None, wait=10.0):
    """Status and text. What cannot be reached, and 503, is asked again until the time is up."""
    while True:
        request = urllib.request.Request(f"{INGRESS}{path}", data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=wait, context=TRUST) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            said = error.code, error.read().decode()
        except OSError as error:
            said = 0, str(error)
        if said[0] not in (0, 503):
            return said
        if time.monotonic() > LIMIT:
            give_up(f"{method} {path}: {said[0] or 'no answer'} {said[1][:500]}")
        time.sleep(1)


def send(text):
    headers = {"Content-Type": "application/json", "Prefer": "wait=30"}
    if os.environ.get("API_KEY_FILE"):
        headers["X-API-Key"] = Path(os.environ["API_KEY_FILE"]).read_text().strip()
    message = json.loads(text)
    message.setdefault("header", {})["messageId"] = str(uuid.uuid4())
    body, status = json.dumps(message).encode(), 202
    while status == 202 and time.monotonic() < LIMIT:  # sent again with its id it is the same message
        status, said = ask("POST", "/v1/messages", body, headers, wait=40)
        say(f"{message['header']['messageId']}: {status} {said[:500]}")
    if status != 200:
        give_up("it was not delivered")
    say("delivered")


status, said = ask("GET", "/health")
say(f"/health: {status} {json.loads(said)['status']}")
if MESSAGE.read_text().strip():
    send(MESSAGE.read_text())
