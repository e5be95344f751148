-- name: add_entry
INSERT INTO entries (type, service, incident, at, boot_id, boot_s, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_incident
INSERT OR IGNORE INTO incidents (id, service, state, opened_at) VALUES (?, ?, 'open', ?);

-- name: set_state
UPDATE incidents SET state = ? WHERE id = ?;

-- name: set_pause
INSERT OR REPLACE INTO pauses (service, by, reason, until) VALUES (?, ?, ?, ?);

-- name: drop_pause
DELETE FROM pauses WHERE service = ?;

-- name: pauses
SELECT e.type, e.service, e.incident, e.at, e.boot_id, e.boot_s, e.body FROM pauses AS p
  JOIN entries AS e ON e.id = (SELECT max(id) FROM entries WHERE type = 'service_paused' AND service = p.service);

-- name: latest_freeze
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries
 WHERE id = (SELECT max(id) FROM entries
              WHERE type = 'daemon_thawed'
                 OR type = 'daemon_frozen' AND json_extract(body, '$.by') NOT LIKE 'file %');

-- name: falls_since
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries
 WHERE type IN ('incident_opened', 'incident_reopened')
   AND (boot_id = :boot_id AND boot_s >= :boot_s OR boot_id <> :boot_id AND at >= :at)
 ORDER BY id;

-- name: touch
UPDATE written SET at = ?;

-- name: latest_of_each_service
SELECT e.incident FROM entries AS e JOIN incidents AS i ON i.id = e.incident
 WHERE i.state <> 'withdrawn'
   AND e.id IN (SELECT max(id) FROM entries WHERE type = 'incident_opened' GROUP BY service);

-- name: newest
SELECT id FROM incidents WHERE :service IS NULL OR service = :service
 ORDER BY opened_at DESC, id DESC LIMIT :limit;

-- name: entries_of_incident
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries WHERE incident = ? ORDER BY id;

-- name: attempts_since
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries AS a
 WHERE type = 'attempt_started' AND (boot_id = :boot_id AND boot_s >= :boot_s OR boot_id <> :boot_id AND at >= :at)
   AND EXISTS (SELECT 1 FROM entries AS s
                WHERE s.incident = a.incident AND s.type = 'step_started'
                  AND json_extract(s.body, '$.attempt') = json_extract(a.body, '$.attempt'))
 ORDER BY id;
