"""What the analysis system keeps, in SQL."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, plan_id TEXT NOT NULL, sequence INTEGER,
  correlation_id TEXT NOT NULL, traceparent TEXT, body TEXT NOT NULL, queued_at TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done', 'failed')), done_at TEXT, error TEXT
);
CREATE INDEX IF NOT EXISTS items_plan ON items (plan_id, sequence);
CREATE INDEX IF NOT EXISTS items_queued ON items (n) WHERE state = 'queued';

CREATE TABLE IF NOT EXISTS events (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE, item INTEGER NOT NULL UNIQUE REFERENCES items (n), plan_id TEXT NOT NULL,
  traceparent TEXT, body TEXT NOT NULL, made_at TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'acked', 'nacked')), answered_at TEXT, errors TEXT
);
CREATE INDEX IF NOT EXISTS events_waiting ON events (n) WHERE state = 'waiting';

-- Everything that was submitted, in order of arrival.
CREATE TABLE IF NOT EXISTS received (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL, id TEXT, sequence INTEGER, plan_id TEXT, redelivery INTEGER NOT NULL,
  correlation_id TEXT, traceparent TEXT,
  result TEXT NOT NULL CHECK (result IN ('queued', 'repeat', 'refused')), reason TEXT
);

-- Of those, the ones that a replay of Linkspan sent, with its plan.
CREATE TABLE IF NOT EXISTS replayed (received INTEGER PRIMARY KEY REFERENCES received (n), plan TEXT NOT NULL);
"""
