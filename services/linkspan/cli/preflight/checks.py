"""The checklist, in its order."""

from __future__ import annotations

from linkspan.cli.preflight.backup import backup
from linkspan.cli.preflight.balancer import balancer
from linkspan.cli.preflight.certificates import certificates
from linkspan.cli.preflight.environment import environment
from linkspan.cli.preflight.finding import Check
from linkspan.cli.preflight.limits import rate_limits
from linkspan.cli.preflight.rollback import rollback
from linkspan.cli.preflight.scan import scan
from linkspan.cli.preflight.topics import topics
from linkspan.cli.preflight.watched import alerts

CHECKS: dict[str, Check] = {
    "environment": environment,
    "certificates": certificates,
    "topics": topics,
    "alerts": alerts,
    "backup": backup,
    "rollback": rollback,
    "balancer": balancer,
    "rate-limits": rate_limits,
    "scan": scan,
}
