-- Which resets did no endpoint send, and between which racks?
--
-- An endpoint received a RST, and the other endpoint's socket was still there a second later or
-- more, which no socket is that sends one; nor has that endpoint's host lost a record in that hour.
-- So something between the two has sent it: a firewall, a proxy, NAT. Connections whose other
-- endpoint is not in the fleet, has not closed yet, or has no record, prove nothing and are left
-- out.
--
-- Endpoints are joined by pair id, within a day: chance may give two connections the same one.
SELECT
    if(a.role = 'client', a_host.rack, b_host.rack) AS client_rack,
    if(a.role = 'client', b_host.rack, a_host.rack) AS server_rack,
    uniqExact(a.pair) AS connections,
    min(a.ts) AS first,
    max(a.ts) AS last,
    groupUniqArray(3)(a.service) AS services,
    groupArraySample(3, 1)(hex(a.pair)) AS examples
FROM
(
    SELECT *
    FROM tcpclose.endpoints
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime} AND reset_by = 'peer'
) AS a
INNER JOIN
(
    SELECT *
    FROM tcpclose.endpoints
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime} + INTERVAL 1 DAY AND reset_by != 'local'
        AND pair IN
        (
            SELECT pair
            FROM tcpclose.endpoints
            WHERE ts >= {from:DateTime} AND ts < {to:DateTime} AND reset_by = 'peer'
        )
) AS b ON a.pair = b.pair
LEFT JOIN tcpclose.hosts AS a_host ON a_host.host = a.host
LEFT JOIN tcpclose.hosts AS b_host ON b_host.host = b.host
WHERE a.role != b.role
    AND b.ts > a.ts + INTERVAL 1 SECOND AND b.ts < a.ts + INTERVAL 1 DAY
    AND (b.host, toStartOfHour(a.ts)) NOT IN
        (SELECT host, toStartOfHour(ts) FROM tcpclose.losses)
GROUP BY client_rack, server_rack
ORDER BY connections DESC, client_rack, server_rack
