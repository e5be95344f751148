-- name: add_entry
INSERT INTO entries (type, service, incident, at, boot_id, boot_s, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_incident
INSERT INTO incidents (id, service, state, opened_at) VALUES (?, ?, 'open', ?);

-- name: set_state
UPDATE incidents SET state = ? WHERE id = ?;

-- name: set_pause
INSERT OR REPLACE INTO pauses (service, by, reason, until) VALUES (?, ?, ?, ?);

-- name: drop_pause
DELETE FROM pauses WHERE service = ?;

-- name: pauses
SELECT service, by, reason, until FROM pauses WHERE until > ?;

-- name: latest_of_each_service
SELECT id FROM incidents AS i
 WHERE state <> 'withdrawn'
   AND opened_at = (SELECT max(opened_at) FROM incidents WHERE service = i.service);

-- name: newest
SELECT id FROM incidents WHERE ?1 IS NULL OR service = ?1 ORDER BY opened_at DESC, id DESC LIMIT ?2;

-- name: entries_of_incident
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries WHERE incident = ? ORDER BY id;

-- name: attempts_since
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries
 WHERE type = 'attempt_started' AND (boot_id = ?1 AND boot_s >= ?2 OR boot_id <> ?1 AND at >= ?3)
 ORDER BY id;
