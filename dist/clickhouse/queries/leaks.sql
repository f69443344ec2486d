-- Who leaks sockets, since when, and after which deploy?
--
-- Sockets that became stuck in the time from {from} to {to} because their process has not closed
-- them, and that were not resolved: by service, and by the version that the host had when the
-- socket entered its state (tcpclose.deploys; empty where nothing is known of deploys). A handful
-- of stuck sockets is no leak.
SELECT
    service,
    version,
    any(exe) AS executable,
    min(since) AS first_stuck,
    any(deployed) AS first_deployed,
    count() AS sockets,
    uniqExact(host) AS on_hosts,
    round(count() / greatest(dateDiff('minute', min(since), toDateTime({to:DateTime}, 'UTC')), 1)
        * 60, 1) AS an_hour
FROM
(
    SELECT host, service, id, since, any(exe) AS exe
    FROM tcpclose.stuck
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime}
        AND verdict IN ('not_accepted', 'eof_unread', 'eof_read', 'half_closed')
    GROUP BY host, service, id, since
    HAVING countIf(event = 'resolved') = 0
) AS sockets
ASOF LEFT JOIN
(
    SELECT host, service, version, ts, min(ts) OVER (PARTITION BY service, version) AS deployed
    FROM tcpclose.deploys FINAL
) AS deploys
ON sockets.host = deploys.host AND sockets.service = deploys.service AND sockets.since >= deploys.ts
GROUP BY service, version
HAVING sockets >= 5
ORDER BY sockets DESC
