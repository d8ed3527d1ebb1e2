"""Who may do what: one table from method to permission, one from role to permissions."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    CONFIGURE = "configure"


ROLES: dict[str, frozenset[Permission]] = {
    "admin": frozenset(Permission),
    "operator": frozenset({Permission.READ, Permission.WRITE}),
    "viewer": frozenset({Permission.READ}),
}

METHODS: dict[str, Permission] = {
    "GetStatus": Permission.READ,
    "WatchStatus": Permission.READ,
    "ListMessages": Permission.READ,
    "GetMessage": Permission.READ,
    "TailMessages": Permission.READ,
    "ListConversations": Permission.READ,
    "ListDeadLetters": Permission.READ,
    "GetDeadLetter": Permission.READ,
    "Redrive": Permission.WRITE,
    "Discard": Permission.DELETE,
    "Pause": Permission.WRITE,
    "Resume": Permission.WRITE,
    "ResetBreaker": Permission.WRITE,
    "FlushQueue": Permission.DELETE,
    "SetLogLevel": Permission.CONFIGURE,
    "EnableProfiling": Permission.CONFIGURE,
    "GetProfile": Permission.READ,
    "Audit": Permission.READ,
    "ListCommands": Permission.READ,
    "PlanReplay": Permission.WRITE,
    "StartReplay": Permission.WRITE,
    "WatchReplay": Permission.READ,
    "GetReplay": Permission.READ,
    "ListReplays": Permission.READ,
    "PauseReplay": Permission.WRITE,
    "ResumeReplay": Permission.WRITE,
    "SetReplayRate": Permission.WRITE,
    "ConfirmReplay": Permission.WRITE,
    "CancelReplay": Permission.WRITE,
    "IssueKey": Permission.CONFIGURE,
    "ListKeys": Permission.READ,
    "RevokeKey": Permission.CONFIGURE,
}
