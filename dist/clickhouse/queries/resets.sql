-- Which connections are reset, by cause, service and host?
--
-- Endpoints whose connection a RST ended, from {from} to {to}, each counted where it was seen: a
-- connection within the fleet has two. `of_closes` is their share of the closes of that service on
-- that host. Where this host sent the RST, its cause is known; a RST of the peer has one where the
-- evidence of this endpoint proves it.
SELECT
    service,
    host,
    multiIf(cause != '', cause, reset_by = 'peer', 'reset by peer', 'reset by this host') AS what,
    sum(closes) AS resets,
    round(resets / any(of_service), 4) AS of_closes
FROM tcpclose.closes_hourly
INNER JOIN
(
    SELECT service, host, sum(closes) AS of_service
    FROM tcpclose.closes_hourly
    WHERE hour >= {from:DateTime} AND hour < {to:DateTime}
    GROUP BY service, host
) AS totals USING (service, host)
WHERE hour >= {from:DateTime} AND hour < {to:DateTime} AND reset_by != ''
GROUP BY service, host, what
ORDER BY resets DESC, service, host, what
