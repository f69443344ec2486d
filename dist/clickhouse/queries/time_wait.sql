-- What does TIME_WAIT cost, and whom?
--
-- TIME_WAITs that ended from {from} to {to}, by service, host and destination: how many minisockets
-- there were at any time on average, and on how many ports of one destination at most in an hour.
-- Clients pay with ports; servers with memory only, a few hundred bytes each.
SELECT
    service,
    host,
    role,
    peer,
    peer_port,
    sum(count) AS time_waits,
    round(sum(seconds) / dateDiff('second', {from:DateTime}, {to:DateTime}), 2)
        AS minisockets_on_average,
    round(max(seconds) / 3600, 2) AS minisockets_in_the_worst_hour
FROM
(
    SELECT hour, service, host, role, peer, peer_port, sum(count) AS count, sum(seconds) AS seconds
    FROM tcpclose.time_waits_hourly
    WHERE hour >= {from:DateTime} AND hour < {to:DateTime}
    GROUP BY hour, service, host, role, peer, peer_port
)
GROUP BY service, host, role, peer, peer_port
ORDER BY time_waits DESC, service, host, role, peer, peer_port
