-- The journal: append-only entries, and one row per incident that points at them.
CREATE TABLE incidents (
    id        TEXT PRIMARY KEY,
    service   TEXT NOT NULL,
    state     TEXT NOT NULL,     -- open, recovered, escalated, withdrawn
    opened_at REAL NOT NULL      -- Unix time
) STRICT, WITHOUT ROWID;

CREATE INDEX incidents_by_service ON incidents (service, opened_at);
CREATE INDEX incidents_by_time ON incidents (opened_at);

CREATE TABLE entries (
    id       INTEGER PRIMARY KEY,
    type     TEXT NOT NULL,
    service  TEXT NOT NULL,
    incident TEXT NOT NULL,      -- '' for what belongs to none
    at       REAL NOT NULL,      -- Unix time, for people
    boot_id  TEXT NOT NULL,
    boot_s   REAL NOT NULL,      -- seconds since that boot: never jumps
    body     TEXT NOT NULL       -- JSON: the entry's other fields
) STRICT;

CREATE INDEX entries_by_incident ON entries (incident, id);
CREATE INDEX entries_by_type ON entries (type, id);

-- Pauses in force.
CREATE TABLE pauses (
    service TEXT PRIMARY KEY,
    by      TEXT NOT NULL,
    reason  TEXT NOT NULL,
    until   REAL NOT NULL        -- Unix time
) STRICT, WITHOUT ROWID;

-- One row, changed to see whether the journal can be written.
CREATE TABLE written (at REAL NOT NULL) STRICT;
INSERT INTO written VALUES (0);
