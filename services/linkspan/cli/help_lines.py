"""The lines that list the commands, so that listing them imports none. A test holds them to what each command says."""

from __future__ import annotations

LINES: dict[str, dict[str, str]] = {
    "Look and decide, over the control API": {
        "status": "Show both systems, Kafka, the database, each flow and each replica.",
        "messages": "List messages, the newest first.",
        "message": "Show one message and everything that became of it.",
        "tail": "Show messages and their outcomes as they happen, until Ctrl-C.",
        "conversations": "List requests and their answers from the other direction.",
        "dead-letters": "Show the messages that could not be delivered, why, and how many wait behind them.",
        "dead-letter": "Show one dead letter: its content, and what would be sent today.",
        "redrive": "Deliver dead letters again, and then the messages that wait behind them, in order.",
        "discard": "Give dead letters up for good, and deliver the messages that wait behind them, in order.",
        "pause": "Deliver nothing of a flow, or nothing to a system, until it is resumed.",
        "resume": "Deliver again what was paused.",
        "reset-breaker": "Ask a destination again now, instead of when its breaker would.",
        "flush-queue": "Give up whatever of a flow is unfinished now.",
        "log-level": "Set how much every replica logs.",
        "profiling": "Measure the stages of a share of the messages.",
        "audit-trail": "Show who commanded what, when and why.",
        "profile": "Keep connections to control APIs under names.",
    },
    "Check and prove": {
        "audit": "Prove from the log that accepted = delivered + in flight + held + dead-lettered + … for every flow.",
        "check": "Check an integration file with its schemas, transforms and value tables, and run its examples.",
        "schemas": "Check and release schema versions.",
        "topics": "Create the topics that are missing in Kafka (MESSAGE_QUEUE_URL), with their policies.",
    },
    "Processes": {
        "ingress": "Take messages in over HTTP and from the systems' own connections, and append them to Kafka.",
        "egress": "Delivers events to their destinations and records the outcome of each.",
        "ledger": "Fold events and outcomes into SQL; without a command: run.",
        "insight": "Counts what flows, and puts requests and their answers together.",
        "broker": "Run a real Apache Kafka on this machine, without Docker: one node, for development and tests.",
        "plan-manager": "The plan manager: System A of the reference integration (REST, OAuth2).",
        "analysis": "The plan analysis: System B of the reference integration (WebSocket, API key).",
        "demo": "Start a real Kafka, both reference systems and both services, and send two plans through.",
    },
}
