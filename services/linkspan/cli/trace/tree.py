"""A trace as a tree on a terminal: who did what below whom, how long it took, what failed, what it links to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.markup import escape
from rich.tree import Tree

from linkspan.cli.trace.jaeger import StoredLink, StoredSpan
from linkspan.kernel.telemetry.attributes import ATTEMPT, LINK, MESSAGE_ID, OUTCOME, REPLAY

_OURS = "linkspan-"
#: Attributes that a line names, by what it calls them.
_SHOWN = {"attempt": ATTEMPT, "outcome": OUTCOME, "replay": REPLAY}


def roots(spans: Sequence[StoredSpan]) -> list[StoredSpan]:
    """Those whose parent is not there: the true root, and what is left where others were not sampled."""
    known = {span.span for span in spans}
    return sorted((span for span in spans if span.parent not in known), key=lambda span: span.began)


def trace_tree(spans: Sequence[StoredSpan]) -> Tree:
    """Of one trace."""
    children: dict[str, list[StoredSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda one: one.began):
        children[span.parent].append(span)
    began, ended = min(span.began for span in spans), max(span.ended for span in spans)
    services = {span.service for span in spans}
    tree = Tree(
        f"trace {spans[0].trace}: {len(spans)} spans of {len(services)} services in {_millis(ended - began)}",
        highlight=False,
    )
    for root in roots(spans):
        _grow(tree, root, children, began)
    return tree


def _grow(tree: Tree, span: StoredSpan, children: dict[str, list[StoredSpan]], began: int) -> None:
    branch = tree.add(escape(_line(span, began)))
    for link in span.links:
        branch.add(escape(_link_line(link)))
    for child in children[span.span]:
        _grow(branch, child, children, began)


def _line(span: StoredSpan, began: int) -> str:
    said = [f"{span.service.removeprefix(_OURS)}: {span.name}"]
    said += [f"{what} {span.attributes[name]}" for what, name in _SHOWN.items() if span.attributes.get(name)]
    said.append(f"at +{_millis(span.began - began)}, took {_millis(span.ended - span.began)}")
    if span.error is not None:
        said.append(f"FAILED: {span.error}")
    return ", ".join(said)


def _link_line(link: StoredLink) -> str:
    message = f", message {link.attributes[MESSAGE_ID]}" if MESSAGE_ID in link.attributes else ""
    return f"-> {link.attributes.get(LINK, 'linked')}: trace {link.trace}, span {link.span}{message}"


def _millis(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"
