"""What operators see: each screen as text, on a wide and on a narrow terminal, and in a pipe."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console, RenderableType
from tests.unit.cli import samples

from linkspan.cli.control.screen import PIPE_WIDTH, Screen, as_json, number_of, span
from linkspan.cli.control.views.commands import trail_view
from linkspan.cli.control.views.letters import groups_view, letter_view, letters_view
from linkspan.cli.control.views.message import story_view
from linkspan.cli.control.views.messages import messages_view
from linkspan.cli.control.views.plan import plan_view
from linkspan.cli.control.views.profile import profile_view
from linkspan.cli.control.views.status import status_view
from linkspan.cli.control.views.tail import tail_line
from linkspan.cli.output import Output
from linkspan.control.v1 import commands_pb2, letters_pb2, messages_pb2, replays_pb2, status_pb2


def screen(width: int) -> Screen:
    made = Screen(Output.TEXT, utc=True)
    made.console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    return made


def shown(on: Screen, what: RenderableType) -> str:
    with on.console.capture() as captured:
        on.console.print(what)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


NARROW = """\
plans  2026-11-23 06:40:12Z
  systemA       ok
  systemB       ok
  messageQueue  ok
  database      AWAY  connection refused

flow               in/s  out/s      lag  held  dead  breaker  state
plan-uploaded       812   10.0  104,233     3     2  open     waiting
analysis-complete     0      0        0     0     0  closed   paused
  plan-uploaded: breaker open: analysis: no answer in 10 s
  analysis-complete: paused by alice: maintenance of the plan manager
  analysis-complete: destination plan-manager is paused by bob

replica        service  version         up  control         work
egress-7d9c-1  egress   0.1.0    2 h 3 min  10.0.0.7:50052  plan-uploaded 0-3,7,
                                                            analysis-complete
                                                            0-11
ingress-5b     ingress  0.1.0         12 s  -               812/s in, 1,201
                                                            spooled

ledger: 0 records behind, folded 2026-11-23 06:40:11Z"""

WIDE = """\
flow               from          to            parts  in/s  out/s  failed/s      lag  window       oldest  held  dead"""


def test_a_status_fits_eighty_columns() -> None:
    on = screen(80)
    assert shown(on, status_view(samples.status(), on)) == NARROW


def test_a_wide_status_tells_more() -> None:
    on = screen(180)
    assert WIDE in shown(on, status_view(samples.status(), on))


def test_a_partition_without_an_owner_and_a_silent_fleet_are_said() -> None:
    found = samples.status()
    found.flows[1].paused, found.flows[1].owned = False, 11
    del found.replicas[:]
    found.ClearField("ledger")
    on = screen(120)
    text = shown(on, status_view(found, on))
    assert "partly owned" in text
    assert "no replica has told of itself within 5 s" in text
    assert "ledger: does not run" in text


def test_a_message_shows_what_became_of_it_in_the_order_of_time() -> None:
    on = screen(110)
    text = shown(on, story_view([samples.answer()], on))
    assert text.splitlines()[0] == "PlanUploaded plan-uploaded/3:1042"
    timeline = [line for line in text.splitlines() if line.startswith("2026-")]
    assert timeline == [
        "2026-11-23 06:40:12.345Z          accepted",
        "2026-11-23 06:40:12.395Z   50 ms  attempt-failed  attempt 1, transient: 500 try later",
        "2026-11-23 06:40:12.468Z  123 ms  delivered       to analysis, attempt 2, transform 4c1f7a90b2d3",
        "2026-11-23 06:40:12.545Z  200 ms  stale           dead-lettered: stale, it does not count, rejected",
    ]
    assert '  "planId": "plan-17",' in text


@pytest.mark.parametrize("width", [80, 140, 1000])
def test_a_list_of_messages_keeps_a_line_a_message_and_a_name_to_ask_for(width: int) -> None:
    on = screen(width)
    found = messages_pb2.ListMessagesResponse(messages=[samples.message()], next_page_token="more")
    lines = shown(on, messages_view(found, on)).splitlines()
    assert len(lines) == 4
    assert "plan-uploaded/3:1042" in lines[1]
    assert (samples.IDS[0] in lines[1]) == (width > 100)
    assert lines[2] == "there are more messages: --limit shows them"


def test_words_of_a_message_are_neither_markup_nor_terminal_commands() -> None:
    on = screen(1000)
    text = shown(on, messages_view(messages_pb2.ListMessagesResponse(messages=[samples.dead()]), on))
    assert "[red]must be at least 1[/red]" in text
    assert "\x1b" not in text


def test_content_in_a_pipe_is_whole_and_stays_json_and_on_a_terminal_long_texts_are_cut() -> None:
    found, plan = samples.answer(), "SVNP" * 12_000
    found.content = json.dumps({"planId": "plan-17", "content": plan})
    pipe = Screen(Output.TEXT, utc=True)
    pipe.console = Console(file=io.StringIO(), width=PIPE_WIDTH, highlight=False, markup=False, emoji=False)
    pipe.print(story_view([found], pipe))
    written = pipe.console.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads(written[written.index("{") : written.rindex("}") + 1])["content"] == plan
    terminal = screen(100)
    terminal.console = Console(file=io.StringIO(), width=100, force_terminal=True, highlight=False, color_system=None)
    text = shown(terminal, story_view([found], terminal))
    assert "(48,000 characters, --output json has all)" in text.replace("\n", " ")
    assert len(text) < 2_000


def test_what_was_decided_without_asking_the_destination_is_not_said_to_go_there() -> None:
    on = screen(110)
    found = samples.answer()
    found.timeline[2].kind = "discarded"
    assert "to analysis" not in shown(on, story_view([found], on))


def test_a_letter_that_today_s_transform_cannot_take_either_is_not_said_to_be_sent() -> None:
    on = screen(110)
    found = letters_pb2.GetDeadLetterResponse(letter=samples.letters().letters[0], transform_error="no storeys")
    assert "today's transform fails too: no storeys" in shown(on, letter_view(found, on))


def test_the_trail_names_each_command_once() -> None:
    on = screen(140)
    said = [("pause", "flow orders"), ("log_level", "log level debug"), ("reset_breaker", "destination store")]
    said.append(("replay_start", "replay january partition 3"))
    commands = [commands_pb2.Command(kind=kind, subject=subject, effective=True) for kind, subject in said]
    lines = [line.strip() for line in shown(on, trail_view(commands, on)).splitlines()[1:]]
    assert [line.partition("   ")[0] for line in lines] == [
        "pause flow orders",
        "log level debug",
        "reset breaker destination store",
        "replay start january partition 3",
    ]


def test_one_is_not_many() -> None:
    assert [number_of(count, "dead letter") for count in (0, 1, 1022)] == [
        "0 dead letters",
        "1 dead letter",
        "1,022 dead letters",
    ]


def test_a_group_says_how_many_wait_behind_it_and_how_to_name_it() -> None:
    on = screen(80)
    text = shown(on, groups_view(samples.letters(), on))
    assert text.splitlines()[1].startswith(
        "plan-uploaded  rejected      214    1,022  9f2c31d0a1b2  422 payload.storeys"
    )
    assert text.endswith("214 dead letters; --each shows them one by one")


def test_letters_have_the_names_that_redrive_takes() -> None:
    on = screen(120)
    assert "3:1042" in shown(on, letters_view(samples.letters(), on))


def test_a_line_of_the_tail_is_one_line_in_a_pipe() -> None:
    on = screen(1000)
    entry = samples.answer().timeline[2]
    found = messages_pb2.TailMessagesResponse(
        flow="orders", partition=1, offset=7, message_id=samples.IDS[0], key="plan\n17", entry=entry
    )
    assert shown(on, tail_line(found, on)) == (
        f"06:40:12.468Z  delivered       orders/1:7  key plan 17  {samples.IDS[0]}"
        "  to analysis, attempt 2, transform 4c1f7a90b2d3"
    )


def test_json_has_the_names_of_the_protos_and_numbers_that_are_numbers() -> None:
    made = as_json(samples.status())
    flow = made["flows"][0]
    assert (flow["lag"], flow["held_keys"], flow["dead_letters"]) == (104_233, 3, 2)
    assert (flow["oldest"], flow["breaker"]) == ("754s", "BREAKER_STATE_OPEN")
    assert made["flows"][1]["lag"] == 0
    assert made["replicas"][0]["partitions"][0] == {"flow": "plan-uploaded", "partitions": [0, 1, 2, 3, 7]}
    assert made["at"] == "2026-11-23T06:40:12.345Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (3.44, "3.4 s"),
        (48, "48 s"),
        (59.7, "1 min 0 s"),
        (754, "12 min 34 s"),
        (7391, "2 h 3 min"),
        (190_000, "2 d 4 h"),
    ],
)
def test_spans_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_an_unknown_number_of_dead_letters_is_not_shown_as_none() -> None:
    on = screen(80)
    found = status_pb2.GetStatusResponse(flows=[status_pb2.FlowStatus(flow="orders", dead_letters=-1)])
    assert "?" in shown(on, status_view(found, on)).splitlines()[3]


PLAN = """\
what becomes of them  usual options  --force  --force --allow-superseded
to send                         200      900                       1,200
already-delivered             1,000        0                           0
held                             40       40                          40
superseded                        0      300                           0

status now  events
delivered    1,000
expired        200
held            40

accepted in the hour (UTC)  events
2026-11-23 04:00                40  █
2026-11-23 05:00             1,200  ██████████████████████████████

busiest keys  events
order- [31m7      30
order-8            2
411 keys in all
"""


def test_a_plan_says_what_becomes_of_its_events_with_each_of_the_usual_options() -> None:
    on = screen(100)
    text = shown(on, plan_view(samples.plan(), on))
    assert PLAN in text
    assert "events     1,240 of 5,000 records read, 1.3 MB" in text
    assert "time       20 s for what is to be sent" in text
    assert 'asked for  {"predicate": "payload.total > 1"}' in text
    assert "made then (-) and today (+)" in text
    assert '-  "total": 1\n+  "total": 2' in text
    assert "3 messages are not in it, as --where could not be asked of them; the first: the predicate failed:" in text
    assert "\x1b" not in text


def test_a_plan_of_nothing_says_so() -> None:
    on = screen(100)
    assert "no event fits" in shown(on, plan_view(replays_pb2.Plan(plan="x"), on))


def test_a_stall_is_shown_with_what_held_the_event_loop_up() -> None:
    found = commands_pb2.GetProfileResponse(sample_rate=0.1)
    stall = found.stalls.add(
        stack="/env/site-packages/uvicorn/server.py:9 serve\n/env/linkspan/ledger/fold.py:7 fold\n"
    )
    stall.stack += "/usr/lib/python3/json/decoder.py:3 decode"
    stall.took.FromMilliseconds(740)
    on = screen(140)
    text = shown(on, profile_view(found, "a:1", on))
    assert "740" in text
    assert "ledger/fold.py:7 fold > /usr/lib/python3/json/decoder.py:3 decode" in text
    assert "uvicorn" not in text
