"""The pages for people: the list of plans and one plan with its figures or the reason why there are none."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from linkspan.reference.plan_manager import plans
from linkspan.reference.store import Store

router = APIRouter(include_in_schema=False)

#: Plans on the list page, the one uploaded last first.
SHOWN = 500
STYLE = files("linkspan.reference").joinpath("page.css").read_text(encoding="utf-8")
#: Nothing on a page comes from elsewhere and nothing on it runs.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}


@router.get("/")
async def start() -> RedirectResponse:
    return RedirectResponse("/plans")


@router.get("/plans")
async def list_page(request: Request) -> HTMLResponse:
    store: Store = request.app.state.store
    found = await store.read(lambda connection: plans.recent_plans(connection, SHOWN))
    rows = (
        [
            _link(f"/plans/{plan['planId']}", plan["metadata"]["identifier"]),
            escape(plan["metadata"]["title"]),
            escape(plan["metadata"]["fileName"]),
            _state(plan["state"]),
            _text(plan["reason"] if plan["state"] == "refused" else None),
            _time(plan["since"]),
        ]
        for plan in found
    )
    table = _table(["Plan", "Title", "File", "State", "Reason", "Since"], rows)
    nothing = (
        '<p>No plan has been uploaded yet: <code>PUT /v1/plans/{planId}</code>, see <a href="/docs">/docs</a>.</p>'
    )
    return _page("Plans", f"<h1>Plans</h1>{table if found else nothing}")


@router.get("/plans/{plan_id}")
async def plan_page(plan_id: uuid.UUID, request: Request) -> HTMLResponse:
    store: Store = request.app.state.store
    plan = await store.read(lambda connection: plans.plan(connection, str(plan_id)))
    if plan is None:
        return _page("No such plan", f"<h1>There is no plan {plan_id}</h1>", 404)
    title = str(plan["metadata"]["title"])
    parts = [
        f"<h1>{escape(title)}</h1><p>{_state(plan['state'])} <span class=quiet>{_since(plan)}</span></p>",
        _reason(plan),
        _analysis(plan["analysis"]),
        _about(plan),
        _history(plan),
    ]
    return _page(title, "".join(parts))


def _since(plan: dict[str, Any]) -> str:
    if plan["state"] == "accepted":
        return f"taken by Linkspan; waiting for the analysis since {_time(plan['since'])}"
    if plan["state"] == "uploaded":
        return f"waiting for Linkspan to take it since {_time(plan['since'])}"
    return f"since {_time(plan['since'])}"


def _reason(plan: dict[str, Any]) -> str:
    if not plan["reason"]:
        return ""
    heading = "Refused" if plan["state"] == "refused" else "Last attempt"
    return f'<div class="reason"><strong>{heading}:</strong> {escape(plan["reason"])}</div>'


def _analysis(analysis: dict[str, Any] | None) -> str:
    if analysis is None:
        return ""
    figures = (
        [_text(figure["label"]), _number(figure["value"]), _text(figure["unit"])] for figure in analysis["figures"]
    )
    advice = "".join(_recommendation(one) for one in analysis["recommendations"])
    return (
        f"<h2>Analysis: {escape(analysis['verdict'])}</h2>"
        f"{_table(['Figure', '#Value', 'Unit'], figures)}"
        f"<h2>Recommendations</h2><ul class=plain>{advice or '<li>None.</li>'}</ul>"
    )


def _recommendation(one: dict[str, Any]) -> str:
    figure = f" {_number(one['figure'])} {_text(one['unit'])}" if one["figure"] is not None else ""
    details = [f"{name}: {escape(one[name])}" for name in ("formula", "source") if one[name]]
    return (
        f"<li><strong class={escape(one['severity'], quote=True)}>{escape(one['severity'])}</strong> "
        f"{escape(one['text'])} <code>{escape(one['code'])}</code>{figure}"
        f"<div class=quiet>{'<br>'.join(details)}</div></li>"
    )


def _about(plan: dict[str, Any]) -> str:
    said = plan["metadata"]
    related = [
        f"{escape(one['kind'])} {_link('/plans/' + one['planId'], one['planId'])}"
        for one in said.get("relationships") or []
    ]
    rows = [
        ("Identifier", _text(said["identifier"])),
        ("Category", _text(said["category"])),
        ("Summary", _text(said.get("summary"))),
        ("File", _text(said.get("fileName"))),
        ("Media type", _text(said.get("mediaType"))),
        ("Size", f"{plan['size']:,} bytes"),
        ("SHA-256", f"<code>{_text(plan['digest'])}</code>"),
        ("Relationships", "<br>".join(related)),
        ("Plan id", f"<code>{escape(plan['planId'])}</code>"),
        ("Message id", f"<code>{_text(plan.get('messageId'))}</code>"),
        ("Correlation id", f"<code>{_text(plan['correlationId'])}</code>"),
        ("Trace", f"<code>{_text(plan.get('traceparent'))}</code>"),
    ]
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<h2>About the plan</h2><div class=wide><table>{body}</table></div>"


def _history(plan: dict[str, Any]) -> str:
    rows = [
        [
            _number(revision["revision"]),
            _time(hop["at"], 23),
            escape(hop["what"]),
            f"<code>{revision['messageId']}</code>",
        ]
        for revision in plan["revisions"]
        for hop in reversed(revision["hops"])
    ]
    return f"<h2>What happened</h2>{_table(['#Revision', 'When (UTC)', 'What', 'Message'], rows)}"


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    """Cells are HTML already; a head that begins with # is a column of numbers."""
    numbers = ["class=number" if head.startswith("#") else "" for head in heads]
    head = "".join(f"<th {kind}>{text.lstrip('#')}</th>" for text, kind in zip(heads, numbers, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {kind}>{cell}</td>" for cell, kind in zip(row, numbers, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)} · Plan manager'
        f"</title><style>{STYLE}</style></head><body>"
        f'<nav><a href="/plans">Plans</a> · <a href="/docs">API</a></nav>{body}</body></html>',
        status,
        HEADERS,
    )


def _state(state: str) -> str:
    return f'<span class="state {state}">{state}</span>'


def _link(address: str, text: str) -> str:
    return f'<a href="{escape(address, quote=True)}">{escape(text)}</a>'


def _text(value: Any) -> str:
    return "" if value is None else escape(str(value))


def _number(value: Any) -> str:
    """To three decimals at most, thousands separated."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "unknown" if value is None else escape(str(value))
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def _time(at: str, length: int = 19) -> str:
    """To the second; 23 characters are to the millisecond."""
    return f'<time datetime="{escape(at, quote=True)}">{escape(at[:length].replace("T", " "))}</time>'
