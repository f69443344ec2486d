-- What becomes of a record in tcpclose.incoming. Records of the agents' self-tests are left out.

-- The service that a process belongs to: the container's name, else the systemd unit, else the name
-- of the process. Put the word of your own fleet here if it has a better one.
CREATE FUNCTION IF NOT EXISTS tcpclose_service AS (name, cgroup, comm) -> multiIf(
    ifNull(name, '') != '', assumeNotNull(name),
    match(ifNull(cgroup, ''), '/[^/]+\\.service$'),
        extract(assumeNotNull(cgroup), '/([^/]+)\\.service$'),
    ifNull(comm, ''));

-- IPv4 addresses as ::ffff:192.0.2.1, so that one type holds both.
CREATE FUNCTION IF NOT EXISTS tcpclose_address AS (text) -> toIPv6OrDefault(ifNull(text, ''));

-- Pair ids are 16 hexadecimal digits; 0 where there is none.
CREATE FUNCTION IF NOT EXISTS tcpclose_pair AS (text) ->
    reinterpretAsUInt64(reverse(unhex(ifNull(text, ''))));

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_closes TO tcpclose.closes AS
SELECT
    ts,
    host,
    tcpclose_service(owner.container.name, owner.cgroup, owner.comm) AS service,
    ifNull(owner.pid, 0) AS pid,
    ifNull(owner.container.id, '') AS container,
    ifNull(incoming.netns, 0) AS netns,
    ifNull(conn.id, 0) AS id,
    tcpclose_pair(conn.pair) AS pair,
    ifNull(conn.role, 'unknown') AS role,
    ifNull(conn.seen_from_start, false) AS seen_from_start,
    tcpclose_address(conn.local.addr) AS local,
    ifNull(conn.local.port, 0) AS local_port,
    tcpclose_address(conn.peer.addr) AS peer,
    ifNull(conn.peer.port, 0) AS peer_port,
    conn.lifetime_ms AS lifetime_ms,
    ifNull(close.path, 'unknown') AS path,
    ifNull(close.initiator, 'unknown') AS initiator,
    ifNull(close.cause, '') AS cause,
    ifNull(close.peer_cause, '') AS peer_cause,
    ifNull(close.errno, 0) AS errno,
    close.idle_ms AS idle_ms,
    least(close.segments, 255) AS segments,
    arrayExists(step -> step.from = 'local' AND step.flags LIKE '%FIN%', close.steps) AS fin_sent,
    arrayExists(step -> step.from = 'peer' AND step.flags LIKE '%FIN%', close.steps)
        AS fin_received,
    bytes.sent AS sent,
    bytes.received AS received,
    ifNull(close.lost.unacknowledged_bytes, 0) AS unacknowledged,
    incoming.retransmits AS retransmits,
    ifNull(reset.by, '') AS reset_by,
    ifNull(reset.reason, '') AS reset_reason
FROM tcpclose.incoming
WHERE kind = 'close' AND NOT ifNull(self_test, false);

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_endpoints TO tcpclose.endpoints AS
SELECT pair, ts, host, service, role, path, reset_by, fin_sent, fin_received
FROM tcpclose.closes
WHERE pair != 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_closes_hourly TO tcpclose.closes_hourly AS
SELECT
    toStartOfHour(ts) AS hour,
    service,
    host,
    role,
    path,
    cause,
    reset_by,
    count() AS closes,
    sum(ifNull(c.sent, 0)) AS sent,
    sum(ifNull(c.received, 0)) AS received,
    sum(c.unacknowledged) AS unacknowledged,
    sum(ifNull(c.retransmits, 0)) AS retransmits
FROM tcpclose.closes AS c
GROUP BY hour, service, host, role, path, cause, reset_by;

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_served TO tcpclose.served AS
SELECT local AS address, local_port AS port, service, host, max(toDateTime(ts)) AS seen
FROM tcpclose.closes
WHERE role = 'server' AND service != ''
GROUP BY address, port, service, host;

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_time_waits_hourly
TO tcpclose.time_waits_hourly AS
SELECT
    toStartOfHour(ts) AS hour,
    tcpclose_service(owner.container.name, owner.cgroup, owner.comm) AS service,
    host,
    -- A server has another port of a peer each time: only those that clients connect to are told
    -- apart.
    if(conn.role = 'server', toIPv6('::'), tcpclose_address(conn.peer.addr)) AS peer,
    if(conn.role = 'server', 0, ifNull(conn.peer.port, 0)) AS peer_port,
    ifNull(conn.role, 'unknown') AS role,
    ifNull(time_wait.end, 'unknown') AS `end`,
    count() AS count,
    sum(ifNull(time_wait.dwell_ms, 0)) / 1000 AS seconds
FROM tcpclose.incoming
WHERE kind = 'time_wait' AND NOT ifNull(self_test, false)
GROUP BY hour, service, host, peer, peer_port, role, `end`;

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_stuck TO tcpclose.stuck AS
SELECT
    ts,
    host,
    tcpclose_service(owner.container.name, owner.cgroup, owner.comm) AS service,
    ifNull(owner.pid, 0) AS pid,
    ifNull(process.exe, '') AS exe,
    ifNull(conn.id, 0) AS id,
    ifNull(incoming.event, '') AS event,
    ifNull(incoming.stuck.state, '') AS state,
    ifNull(incoming.stuck.verdict, '') AS verdict,
    ifNull(incoming.stuck.resolved_by, '') AS resolved_by,
    ifNull(incoming.stuck.since, ts) AS since,
    ifNull(incoming.stuck.age_ms, 0) AS age_ms,
    tcpclose_address(conn.peer.addr) AS peer,
    ifNull(conn.peer.port, 0) AS peer_port,
    ifNull(process.descriptors.open, 0) AS open_descriptors,
    ifNull(process.descriptors.limit, 0) AS max_descriptors
FROM tcpclose.incoming
WHERE kind = 'stuck' AND NOT ifNull(self_test, false);

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_losses TO tcpclose.losses AS
SELECT
    ts,
    host,
    ifNull(incoming.where, '') AS `where`,
    toUInt64OrZero(ifNull(incoming.lost, '')) AS lost,
    incoming.duration_ms AS duration_ms
FROM tcpclose.incoming
WHERE kind = 'loss';

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_intervals TO tcpclose.intervals AS
SELECT
    ifNull(incoming.from, ts) AS began,
    ts AS ended,
    host,
    ifNull(connections.opened, 0) AS opened,
    ifNull(connections.closed, 0) AS closed,
    ifNull(connections.live, 0) AS live,
    ifNull(connections.waiting_for_fin, 0) AS waiting_for_fin,
    ifNull(incoming.time_wait.now, 0) AS time_wait,
    ifNull(tracer.cpu_ms, 0) AS cpu_ms,
    ifNull(tracer.memory_bytes, 0) AS memory
FROM tcpclose.incoming
WHERE kind = 'summary';

CREATE MATERIALIZED VIEW IF NOT EXISTS tcpclose.to_ports TO tcpclose.ports AS
SELECT
    ts,
    host,
    tcpclose_address(route.local) AS local,
    tcpclose_address(route.peer.addr) AS peer,
    route.peer.port AS peer_port,
    ifNull(route.used, 0) AS used,
    ifNull(route.ports, 0) AS ports
FROM tcpclose.incoming
ARRAY JOIN incoming.time_wait.pressure AS route
WHERE kind = 'summary';
