"""Is it known what to go back to, and how?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target


async def rollback(target: Target) -> AsyncIterator[Finding]:
    plan = target.rollback_plan
    if plan is None:
        yield Finding("--rollback-plan", "no plan is named", "write down how to go back, and to which version")
    versions = {one.version for one in (await target.status()).replicas}
    if len(versions) > 1:
        fault = f"replicas run {', '.join(sorted(versions))}: an upgrade is under way"
        yield Finding("version", fault, "let it end, or go back (docs/upgrade.md)")
    if plan is None:
        return
    try:
        text = plan.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        yield Finding(str(plan), f"cannot be read: {error}", "name the file with --rollback-plan")
        return
    missing = [one for one in sorted(versions) if one not in text]
    if missing:
        fault = f"does not say how to go back to {', '.join(missing)}, which runs now"
        yield Finding(str(plan), fault, "bring it up to date")
    if "rollback.sh" not in text and "rollback" not in text.lower():
        yield Finding(str(plan), "names no way back", "scripts/rollback.sh is one")
    elif not missing:
        yield Finding(str(plan), said=f"goes back to {', '.join(sorted(versions))}")
