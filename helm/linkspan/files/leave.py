"""Before ingress is told to stop: waits until nobody is sent here any more, then until its spool is in Kafka.

Arguments: seconds to wait in any case, seconds to wait at most. It serves on meanwhile; what stays is on its volume.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request

SCHEME = "https" if os.environ.get("LINKSPAN_TLS_CERT") else "http"
#: It is this very pod, by its loopback address, which no certificate names.
ITSELF = ssl._create_unverified_context()


def asked(path):
    try:
        return urllib.request.urlopen(f"{SCHEME}://127.0.0.1:8080{path}", timeout=3, context=ITSELF).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def spooled():
    lines = asked("/metrics").splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("linkspan_spool_messages{"))


def waits():
    """Whether there is something that Kafka will take."""
    return spooled() > 0 and json.loads(asked("/ready"))["ready"]


began = time.monotonic()
time.sleep(float(sys.argv[1]))
try:
    while time.monotonic() - began < float(sys.argv[2]) and waits():
        time.sleep(0.5)
except (OSError, ValueError, KeyError) as error:
    sys.stderr.write(f"the spool cannot be asked for: {error}\n")
