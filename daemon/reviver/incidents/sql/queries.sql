-- name: add_entry
INSERT INTO entries (type, service, incident, at, boot_id, boot_s, body, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: latest_link
SELECT id, chain FROM entries ORDER BY id DESC LIMIT 1;

-- name: links
SELECT id, type, service, incident, at, boot_id, boot_s, body, chain FROM entries ORDER BY id;

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
                 OR type = 'daemon_frozen'
                    AND coalesce(json_extract(CASE WHEN json_valid(body) THEN body END, '$.by'), '') NOT LIKE 'file %');

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
                  AND json_extract(CASE WHEN json_valid(s.body) THEN s.body END, '$.attempt')
                    = json_extract(CASE WHEN json_valid(a.body) THEN a.body END, '$.attempt'))
 ORDER BY id;

-- name: history_since
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries
 WHERE type IN ('incident_opened', 'incident_reopened', 'attempt_started', 'step_started', 'attempt_ended',
                'strategy_promoted', 'cause_found')
   AND (boot_id = :boot_id AND boot_s >= :boot_s OR boot_id <> :boot_id AND at >= :at)
 ORDER BY id;

-- name: set_demotion
INSERT OR REPLACE INTO demotions (service, strategy, incident, mode, reason) VALUES (?, ?, ?, ?, ?);

-- name: drop_demotion
DELETE FROM demotions WHERE service = ? AND strategy = ?;

-- name: demotions
SELECT service, strategy, incident, mode, reason FROM demotions;

-- name: last_run_id
SELECT coalesce(max(id), 0) FROM history;

-- name: put_run
INSERT INTO history (id, service, answer, certain, begun, woken, since, until, boot_id, since_s, until_s, count, latency, message)
VALUES (:id, :service, :answer, :certain, :begun, :woken, :since, :until, :boot_id, :since_s, :until_s, :count, :latency, :message)
    ON CONFLICT (id) DO UPDATE SET until = :until, until_s = :until_s, count = :count, latency = :latency;

-- name: next_service_of_runs
SELECT coalesce(min(service), '') FROM history WHERE service > ?;

-- name: drop_old_runs
DELETE FROM history WHERE id IN (SELECT id FROM history WHERE service = :service ORDER BY id LIMIT :at_most) AND until < :before;

-- name: drop_runs_too_many
DELETE FROM history
 WHERE id IN (SELECT id FROM history WHERE service = :service
               AND id <= (SELECT id FROM history WHERE service = :service ORDER BY id DESC LIMIT 1 OFFSET :kept)
             ORDER BY id LIMIT :at_most);

-- name: newest_run
SELECT max(until) FROM history;

-- name: runs_since
SELECT service, answer, certain, begun, woken, since, until, boot_id, since_s, until_s, latency, message
  FROM history WHERE until >= ? ORDER BY id;

-- name: incidents_since
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries
 WHERE incident IN (SELECT incident FROM entries WHERE at >= ? AND incident <> '') ORDER BY id;

-- name: orders_since
SELECT type, service, incident, at, boot_id, boot_s, body FROM entries
 WHERE type IN ('service_paused', 'service_resumed', 'daemon_frozen', 'daemon_thawed') AND at >= ? ORDER BY id;
