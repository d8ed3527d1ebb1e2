"""What the plan manager keeps, in SQL. ``contents`` holds each file once, by its SHA-256."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS contents (digest TEXT PRIMARY KEY, content BLOB NOT NULL);

-- One row an upload: the plan's history, the change feed (change is its cursor) and the webhook's outbox in one.
CREATE TABLE IF NOT EXISTS uploads (
  change INTEGER PRIMARY KEY AUTOINCREMENT,
  plan_id TEXT NOT NULL, revision INTEGER NOT NULL,
  message_id TEXT NOT NULL UNIQUE, correlation_id TEXT NOT NULL, traceparent TEXT NOT NULL,
  metadata TEXT NOT NULL, priority TEXT NOT NULL, ttl INTEGER,
  digest TEXT NOT NULL REFERENCES contents (digest), size INTEGER NOT NULL,
  uploaded_at TEXT NOT NULL,
  webhook TEXT NOT NULL DEFAULT 'pending' CHECK (webhook IN ('pending', 'accepted', 'refused')),
  attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT, answered_at TEXT, problem TEXT,
  UNIQUE (plan_id, revision)
);
CREATE INDEX IF NOT EXISTS uploads_pending ON uploads (change) WHERE webhook = 'pending';

CREATE TABLE IF NOT EXISTS analyses (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  idempotency_key TEXT NOT NULL UNIQUE, plan_id TEXT NOT NULL, analysis_id TEXT NOT NULL,
  sequence INTEGER, digest TEXT NOT NULL, correlation_id TEXT, view TEXT NOT NULL, stored_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS analyses_plan ON analyses (plan_id, sequence);

CREATE TABLE IF NOT EXISTS refusals (
  plan_id TEXT NOT NULL, message_id TEXT NOT NULL, digest TEXT NOT NULL,
  class TEXT NOT NULL, reason TEXT NOT NULL, stored_at TEXT NOT NULL,
  PRIMARY KEY (plan_id, message_id)
);

-- Everything that was sent to the results store, in order of arrival.
CREATE TABLE IF NOT EXISTS received (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL, kind TEXT NOT NULL, idempotency_key TEXT, sequence INTEGER, plan_id TEXT NOT NULL,
  redelivery INTEGER NOT NULL, correlation_id TEXT, traceparent TEXT, request_id TEXT,
  result TEXT NOT NULL CHECK (result IN ('stored', 'repeat', 'refused')), reason TEXT
);

-- Of those, the ones that a replay of Linkspan sent, with its plan.
CREATE TABLE IF NOT EXISTS replayed (received INTEGER PRIMARY KEY REFERENCES received (n), plan TEXT NOT NULL);
"""
