"""`python -m linkspan.broker.lock` writes the list of Kafka's jars anew.

Maven resolution (which jars belong to Kafka) happens only here, by hand, when the version in `locked.py` changes.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from linkspan.broker.locked import ENDPOINT, LOCK_FILE, Jar, sha256_of


def resolve(endpoint: str = ENDPOINT) -> list[Jar]:
    """Asks Maven's repositories anew which jars Kafka (or another endpoint) needs, and hashes what they send.

    A scratch repository is used, so that nothing which lies on this machine already gets into the lock.
    """
    import jgo
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), local_repos=[])
        jars = []
        for found in jgo.resolve(endpoint):
            artifact = context.project(found.groupId, found.artifactId).at_version(found.version).artifact()
            coordinates = f"{found.groupId}:{found.artifactId}:{found.version}"
            jars.append(Jar(artifact.filename, coordinates, sha256_of(artifact.resolve())))
    return sorted(set(jars), key=lambda jar: jar.file)


def main() -> None:
    jars = resolve()
    content = {"endpoint": ENDPOINT, "jars": [asdict(jar) for jar in jars]}
    LOCK_FILE.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{LOCK_FILE.name}: {len(jars)} jars\n")


if __name__ == "__main__":
    main()
