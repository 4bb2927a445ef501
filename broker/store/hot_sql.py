"""SQL of the hot path. Made by `python -m broker.store.hot_gen` from the tables."""

# ruff: noqa: E501, S105

from __future__ import annotations

SCHEMA = 7

MACHINES = """
SELECT machine.source, machine.uuid, machine.name, machine.state, machine.hypervisor, machine.hypervisor_ip, machine.protocol, machine.reason, machine.pid, machine.started_at, machine.target, machine.defined, machine.adopted, machine.kept, machine.stale, machine.seen_at, source.listed_at, coalesce(live.sessions, 0) AS sessions
FROM machine JOIN source ON source.name = machine.source LEFT OUTER JOIN (SELECT session.source AS source, session.uuid AS uuid, count(*) AS sessions
FROM session
WHERE session.ended_at IS NULL GROUP BY session.source, session.uuid) AS live ON live.source = machine.source AND live.uuid = machine.uuid ORDER BY machine.name, machine.source, machine.uuid
"""

FIRST_MACHINES = """
SELECT machine.source, machine.uuid, machine.name, machine.state, machine.hypervisor, machine.hypervisor_ip, machine.protocol, machine.reason, machine.pid, machine.started_at, machine.target, machine.defined, machine.adopted, machine.kept, machine.stale, machine.seen_at, source.listed_at, coalesce(live.sessions, 0) AS sessions
FROM machine JOIN source ON source.name = machine.source LEFT OUTER JOIN (SELECT session.source AS source, session.uuid AS uuid, count(*) AS sessions
FROM session
WHERE session.ended_at IS NULL GROUP BY session.source, session.uuid) AS live ON live.source = machine.source AND live.uuid = machine.uuid ORDER BY machine.name, machine.source, machine.uuid
 LIMIT :most OFFSET 0
"""

WITH_PROCESS = """
SELECT machine.source, machine.uuid, machine.name, machine.state, machine.hypervisor, machine.hypervisor_ip, machine.protocol, machine.reason, machine.pid, machine.started_at, machine.target, machine.defined, machine.adopted, machine.kept, machine.stale, machine.seen_at, source.listed_at, coalesce(live.sessions, 0) AS sessions
FROM machine JOIN source ON source.name = machine.source LEFT OUTER JOIN (SELECT session.source AS source, session.uuid AS uuid, count(*) AS sessions
FROM session
WHERE session.ended_at IS NULL GROUP BY session.source, session.uuid) AS live ON live.source = machine.source AND live.uuid = machine.uuid
WHERE machine.pid IS NOT NULL ORDER BY machine.name, machine.source, machine.uuid
"""

FIND = """
SELECT machine.source, machine.uuid, machine.name, machine.state, machine.hypervisor, machine.hypervisor_ip, machine.protocol, machine.reason, machine.pid, machine.started_at, machine.target, machine.defined, machine.adopted, machine.kept, machine.stale, machine.seen_at, source.listed_at, coalesce(live.sessions, 0) AS sessions
FROM machine JOIN source ON source.name = machine.source LEFT OUTER JOIN (SELECT session.source AS source, session.uuid AS uuid, count(*) AS sessions
FROM session
WHERE session.ended_at IS NULL GROUP BY session.source, session.uuid) AS live ON live.source = machine.source AND live.uuid = machine.uuid
WHERE machine.name = :whole OR machine.source IN (SELECT known.name
FROM source AS known) AND machine.uuid = lower(:whole) OR machine.source = :before AND machine.name = :behind OR machine.source IN (SELECT known.name
FROM source AS known
WHERE lower(known.name) = lower(:before)) AND machine.uuid IN (:behind, lower(:behind)) ORDER BY machine.name, machine.source, machine.uuid
"""

UNLISTED = """
SELECT source.name
FROM source
WHERE source.health = 'new'
"""

FACT = """
SELECT meta.value
FROM meta
WHERE meta.name = :name
"""

ADD_TOKEN = """
INSERT INTO token (digest, source, uuid, created_at, expires_at, label, used_at, revoked_at, session, policy) VALUES (:digest, :source, :uuid, :created_at, :expires_at, :label, :used_at, :revoked_at, :session, :policy)
"""

ADD_EVENT = """
INSERT INTO event (at, kind, text, source, machine_source, machine_uuid, console, session, client, reason, label, verdict, channel) VALUES (:at, :kind, :text, :source, :machine_source, :machine_uuid, :console, :session, :client, :reason, :label, :verdict, :channel)
"""
