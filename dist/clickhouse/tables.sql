-- The tables of tcpclose's records in ClickHouse (README.md beside this file says how to load
-- them).
--
-- Agents write into tcpclose.incoming, which keeps nothing: materialised views make rows of it for
-- the tables below, one for each kind of record. So a way in needs no other setting than the name
-- of one table, and a column that comes later needs no change of it.
--
-- Each table is partitioned by day or month and forgets its rows after a while; docs/fleet.md has
-- the measured bytes of a row.

CREATE DATABASE IF NOT EXISTS tcpclose;

-- As the agent writes a record (docs/json.md), without what no query here asks for. JSON lines add
-- the name of the host where they are loaded. What is an object in one kind of record and something
-- else in another is read as text.
CREATE TABLE IF NOT EXISTS tcpclose.incoming
(
    -- The agent's address in the URL says it (&SQL_host=NAME), or the query that loads a file.
    host String DEFAULT getSettingOrDefault('SQL_host', ''),
    kind String,
    ts DateTime64(6, 'UTC'),
    netns Nullable(UInt32),
    conn Tuple(
        id Nullable(UInt64),
        pair Nullable(String),
        local Tuple(addr Nullable(String), port Nullable(UInt16)),
        peer Tuple(addr Nullable(String), port Nullable(UInt16)),
        role Nullable(String),
        seen_from_start Nullable(Bool),
        lifetime_ms Nullable(Float64)),
    owner Tuple(
        pid Nullable(UInt32),
        comm Nullable(String),
        cgroup Nullable(String),
        container Tuple(
            id Nullable(String),
            name Nullable(String),
            pod_name Nullable(String),
            pod_namespace Nullable(String))),
    close Tuple(
        path Nullable(String),
        initiator Nullable(String),
        cause Nullable(String),
        peer_cause Nullable(String),
        errno Nullable(UInt16),
        lost Tuple(unacknowledged_bytes Nullable(UInt64)),
        idle_ms Nullable(Float64),
        segments Nullable(UInt32),
        steps Array(Tuple(`from` String, flags String))),
    bytes Tuple(sent Nullable(UInt64), received Nullable(UInt64)),
    retransmits Nullable(UInt32),
    reset Tuple(by Nullable(String), reason Nullable(String)),
    -- Of time_wait and summary.
    time_wait Tuple(
        dwell_ms Nullable(Float64),
        `end` Nullable(String),
        `now` Nullable(UInt64),
        pressure Array(Tuple(
            local String,
            peer Tuple(addr String, port UInt16),
            used Nullable(UInt32),
            ports Nullable(UInt32)))),
    -- Of stuck; a summary has another object there.
    event Nullable(String),
    stuck Tuple(
        state Nullable(String),
        since Nullable(DateTime64(6, 'UTC')),
        age_ms Nullable(Float64),
        verdict Nullable(String),
        resolved_by Nullable(String)),
    process Tuple(
        exe Nullable(String),
        descriptors Tuple(open Nullable(UInt64), `limit` Nullable(UInt64))),
    -- A number in a loss, an object in a summary.
    lost Nullable(String),
    `where` Nullable(String),
    duration_ms Nullable(Float64),
    -- Of a summary.
    `from` Nullable(DateTime64(6, 'UTC')),
    connections Tuple(
        opened Nullable(UInt64),
        closed Nullable(UInt64),
        live Nullable(UInt64),
        waiting_for_fin Nullable(UInt64)),
    tracer Tuple(cpu_ms Nullable(Float64), memory_bytes Nullable(UInt64)),
    self_test Nullable(Bool)
)
ENGINE = Null;

-- Where each host is: from your inventory. Agents know nothing of racks.
CREATE TABLE IF NOT EXISTS tcpclose.hosts
(
    host LowCardinality(String),
    rack LowCardinality(String),
    addresses Array(String)
)
ENGINE = ReplacingMergeTree
ORDER BY host;

-- Which version of a service a host has, and since when: a row for each deploy and host, from what
-- deploys. The first ones say what was there before.
CREATE TABLE IF NOT EXISTS tcpclose.deploys
(
    ts DateTime64(6, 'UTC'),
    host LowCardinality(String),
    service LowCardinality(String),
    version String
)
ENGINE = ReplacingMergeTree
ORDER BY (service, host, ts);

-- One row for each endpoint that closed. A query looks at a service, then at its hosts, then at a
-- time: rows in that order lie together, and what they have in common costs next to nothing.
CREATE TABLE IF NOT EXISTS tcpclose.closes
(
    ts DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    host LowCardinality(String),
    service LowCardinality(String),
    pid UInt32 CODEC(ZSTD(1)),
    container LowCardinality(String),
    netns UInt32 CODEC(ZSTD(1)),
    id UInt64 CODEC(T64, ZSTD(1)),
    pair UInt64 CODEC(NONE),
    role Enum8('unknown' = 0, 'client' = 1, 'server' = 2),
    seen_from_start Bool,
    local IPv6 CODEC(ZSTD(1)),
    local_port UInt16 CODEC(ZSTD(1)),
    peer IPv6 CODEC(ZSTD(1)),
    peer_port UInt16 CODEC(ZSTD(1)),
    lifetime_ms Nullable(Float32) CODEC(ZSTD(1)),
    path Enum8('unknown' = 0, 'four_way' = 1, 'three_way' = 2, 'simultaneous' = 3, 'reset' = 4,
        'timeout' = 5, 'destroyed' = 6, 'connect_failed' = 7),
    initiator Enum8('unknown' = 0, 'local' = 1, 'peer' = 2, 'both' = 3),
    cause LowCardinality(String),
    peer_cause LowCardinality(String),
    errno UInt16 CODEC(ZSTD(1)),
    idle_ms Nullable(Float32) CODEC(ZSTD(1)),
    segments Nullable(UInt8) CODEC(ZSTD(1)),
    fin_sent Bool,
    fin_received Bool,
    sent Nullable(UInt64) CODEC(T64, ZSTD(1)),
    received Nullable(UInt64) CODEC(T64, ZSTD(1)),
    unacknowledged UInt64 CODEC(T64, ZSTD(1)),
    retransmits Nullable(UInt32) CODEC(T64, ZSTD(1)),
    reset_by Enum8('' = 0, 'local' = 1, 'peer' = 2),
    reset_reason LowCardinality(String)
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (service, host, ts)
TTL toDateTime(ts) + INTERVAL 14 DAY
SETTINGS ttl_only_drop_parts = 1;

-- Both endpoints of a connection side by side: rows in the order of pair ids, so that the other
-- endpoint of a few thousand connections is found without reading the rest. Only what verdicts over
-- two endpoints need. Pair ids are random: their eight bytes are most of a row.
CREATE TABLE IF NOT EXISTS tcpclose.endpoints
(
    pair UInt64 CODEC(NONE),
    ts DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    host LowCardinality(String),
    service LowCardinality(String),
    role Enum8('unknown' = 0, 'client' = 1, 'server' = 2),
    path Enum8('unknown' = 0, 'four_way' = 1, 'three_way' = 2, 'simultaneous' = 3, 'reset' = 4,
        'timeout' = 5, 'destroyed' = 6, 'connect_failed' = 7),
    reset_by Enum8('' = 0, 'local' = 1, 'peer' = 2),
    fin_sent Bool,
    fin_received Bool
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (pair, ts)
TTL toDateTime(ts) + INTERVAL 3 DAY
SETTINGS ttl_only_drop_parts = 1;

-- Closes counted by hour, for dashboards and for months.
CREATE TABLE IF NOT EXISTS tcpclose.closes_hourly
(
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    host LowCardinality(String),
    role Enum8('unknown' = 0, 'client' = 1, 'server' = 2),
    path Enum8('unknown' = 0, 'four_way' = 1, 'three_way' = 2, 'simultaneous' = 3, 'reset' = 4,
        'timeout' = 5, 'destroyed' = 6, 'connect_failed' = 7),
    cause LowCardinality(String),
    reset_by Enum8('' = 0, 'local' = 1, 'peer' = 2),
    closes UInt64 CODEC(T64, ZSTD(1)),
    sent UInt64 CODEC(T64, ZSTD(1)),
    received UInt64 CODEC(T64, ZSTD(1)),
    unacknowledged UInt64 CODEC(T64, ZSTD(1)),
    retransmits UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (service, host, hour, role, path, cause, reset_by)
TTL hour + INTERVAL 13 MONTH
SETTINGS ttl_only_drop_parts = 1;

-- TIME_WAITs that are over, by hour: how many and for how long. Nobody asks for a single one.
CREATE TABLE IF NOT EXISTS tcpclose.time_waits_hourly
(
    hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    service LowCardinality(String),
    host LowCardinality(String),
    peer IPv6 CODEC(ZSTD(1)),
    peer_port UInt16 CODEC(ZSTD(1)),
    role Enum8('unknown' = 0, 'client' = 1, 'server' = 2),
    `end` LowCardinality(String),
    count UInt64 CODEC(T64, ZSTD(1)),
    seconds Float64 CODEC(ZSTD(1))
)
ENGINE = SummingMergeTree((count, seconds))
PARTITION BY toYYYYMM(hour)
ORDER BY (service, host, hour, role, peer, peer_port, `end`)
TTL hour + INTERVAL 60 DAY
SETTINGS ttl_only_drop_parts = 1;

-- Which service answers on which address and port, as the closes of its own host show it: clients
-- know the address only.
CREATE TABLE IF NOT EXISTS tcpclose.served
(
    address IPv6,
    port UInt16,
    service LowCardinality(String),
    host LowCardinality(String),
    seen DateTime('UTC')
)
ENGINE = ReplacingMergeTree(seen)
ORDER BY (address, port)
TTL seen + INTERVAL 14 DAY;

-- Sockets that became stuck, and those that no longer are.
CREATE TABLE IF NOT EXISTS tcpclose.stuck
(
    ts DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    host LowCardinality(String),
    service LowCardinality(String),
    pid UInt32 CODEC(ZSTD(1)),
    exe LowCardinality(String),
    id UInt64 CODEC(ZSTD(1)),
    event LowCardinality(String),
    state LowCardinality(String),
    verdict LowCardinality(String),
    resolved_by LowCardinality(String),
    since DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    age_ms Float64 CODEC(ZSTD(1)),
    peer IPv6 CODEC(ZSTD(1)),
    peer_port UInt16 CODEC(ZSTD(1)),
    open_descriptors UInt64 CODEC(T64, ZSTD(1)),
    max_descriptors UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (service, host, ts)
TTL toDateTime(ts) + INTERVAL 60 DAY
SETTINGS ttl_only_drop_parts = 1;

-- What agents have lost, and where.
CREATE TABLE IF NOT EXISTS tcpclose.losses
(
    ts DateTime64(6, 'UTC'),
    host LowCardinality(String),
    `where` LowCardinality(String),
    lost UInt64,
    duration_ms Nullable(Float64)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (host, ts)
TTL toDateTime(ts) + INTERVAL 60 DAY
SETTINGS ttl_only_drop_parts = 1;

-- One row for each interval of an agent. Where there is none, nobody has looked.
CREATE TABLE IF NOT EXISTS tcpclose.intervals
(
    began DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ended DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    host LowCardinality(String),
    opened UInt64 CODEC(T64, ZSTD(1)),
    closed UInt64 CODEC(T64, ZSTD(1)),
    live UInt64 CODEC(T64, ZSTD(1)),
    waiting_for_fin UInt64 CODEC(T64, ZSTD(1)),
    time_wait UInt64 CODEC(T64, ZSTD(1)),
    cpu_ms Float64 CODEC(ZSTD(1)),
    memory UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ended)
ORDER BY (host, ended)
TTL toDateTime(ended) + INTERVAL 60 DAY
SETTINGS ttl_only_drop_parts = 1;

-- The routes that use the most ports of a host at the end of an interval.
CREATE TABLE IF NOT EXISTS tcpclose.ports
(
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    host LowCardinality(String),
    local IPv6 CODEC(ZSTD(1)),
    peer IPv6 CODEC(ZSTD(1)),
    peer_port UInt16 CODEC(ZSTD(1)),
    used UInt32 CODEC(T64, ZSTD(1)),
    ports UInt32 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (host, peer, peer_port, ts)
TTL toDateTime(ts) + INTERVAL 60 DAY
SETTINGS ttl_only_drop_parts = 1;
