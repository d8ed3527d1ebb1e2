#!/opt/linkspan/bin/python -IS
"""``healthcheck [PATH]``: asks the process of this container, by default whether it lives. Exit code 0: it does.

Only what Python starts with is imported: it runs every few seconds beside every process.
"""

import http.client
import os
import ssl
import sys

path = sys.argv[1] if len(sys.argv) > 1 else "/live"
port = int(os.environ.get("LINKSPAN_PORT") or 8080)
if os.environ.get("LINKSPAN_TLS_CERT"):
    # It asks itself: whose certificate that is, is no question here.
    unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=8, context=unchecked)
else:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
try:
    connection.request("GET", path)
    answer = connection.getresponse()
    said = answer.read(500).decode(errors="replace")
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"nobody answers on port {port}: {error}")
sys.stdout.write(said + "\n")
sys.exit(0 if answer.status == 200 else 1)
