-- Which gateways run out of local ports?
--
-- Hosts and destinations whose connects found no port, or for which nine of ten ports were in use
-- at the end of an interval: the highest share, how many connects failed, and in how many hours.
SELECT
    host,
    peer,
    peer_port,
    max(share) AS highest_share,
    sum(failed) AS failed_connects,
    uniqExactIf(hour, failed > 0 OR share >= 0.9) AS hours
FROM
(
    SELECT host, peer, peer_port, toStartOfHour(ts) AS hour, 0 AS failed,
        round(used / greatest(ports, 1), 3) AS share
    FROM tcpclose.ports
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime}
    UNION ALL
    SELECT host, peer, peer_port, toStartOfHour(ts) AS hour, 1 AS failed, 0 AS share
    FROM tcpclose.closes
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime} AND cause = 'no_local_port'
)
GROUP BY host, peer, peer_port
HAVING failed_connects > 0 OR highest_share >= 0.9
ORDER BY failed_connects DESC, highest_share DESC
