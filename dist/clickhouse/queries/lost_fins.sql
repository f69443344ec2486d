-- Which FINs never arrived, and between which racks?
--
-- One endpoint sent a FIN, sent it again until its kernel gave up, and the other endpoint closed
-- later without having received one. Joined by pair id within a day; connections of which only one
-- endpoint has a record prove nothing and are left out.
SELECT
    a_host.rack AS from_rack,
    b_host.rack AS to_rack,
    uniqExact(a.pair) AS connections,
    min(a.ts) AS first,
    max(a.ts) AS last,
    groupUniqArray(3)(a.service) AS services,
    groupArraySample(3, 1)(hex(a.pair)) AS examples
FROM
(
    SELECT *
    FROM tcpclose.endpoints
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime} AND path = 'timeout' AND fin_sent
) AS a
INNER JOIN
(
    SELECT *
    FROM tcpclose.endpoints
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime} + INTERVAL 1 DAY AND NOT fin_received
        AND pair IN
        (
            SELECT pair
            FROM tcpclose.endpoints
            WHERE ts >= {from:DateTime} AND ts < {to:DateTime} AND path = 'timeout' AND fin_sent
        )
) AS b ON a.pair = b.pair
LEFT JOIN tcpclose.hosts AS a_host ON a_host.host = a.host
LEFT JOIN tcpclose.hosts AS b_host ON b_host.host = b.host
WHERE a.role != b.role AND b.ts > a.ts - INTERVAL 1 HOUR AND b.ts < a.ts + INTERVAL 1 DAY
GROUP BY from_rack, to_rack
ORDER BY connections DESC, from_rack, to_rack
