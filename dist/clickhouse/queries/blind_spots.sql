-- Which hosts have lost records, or were not watched?
--
-- Losses by host and where they happened, and the time from {from} to {to} for which a host has no
-- interval of an agent: it was not running, or nothing of it has arrived. Verdicts about these
-- hosts and times are incomplete. Hosts of the inventory that have never sent anything are there,
-- too.
SELECT
    host,
    sum(lost) AS lost_records,
    groupUniqArrayIf(`where`, lost > 0) AS lost_where,
    round(max(unwatched) / 3600, 1) AS unwatched_hours
FROM
(
    SELECT host, lost, toString(`where`) AS `where`, 0 AS unwatched
    FROM tcpclose.losses
    WHERE ts >= {from:DateTime} AND ts < {to:DateTime}
    UNION ALL
    SELECT
        hosts.host AS host,
        0 AS lost,
        '' AS `where`,
        dateDiff('second', {from:DateTime}, {to:DateTime}) - watched AS unwatched
    FROM tcpclose.hosts AS hosts FINAL
    LEFT JOIN
    (
        SELECT
            host,
            sum(dateDiff('second',
                greatest(began, toDateTime64({from:DateTime}, 3, 'UTC')),
                least(ended, toDateTime64({to:DateTime}, 3, 'UTC')))) AS watched
        FROM tcpclose.intervals
        WHERE ended > {from:DateTime} AND began < {to:DateTime}
        GROUP BY host
    ) AS intervals ON intervals.host = hosts.host
)
GROUP BY host
HAVING lost_records > 0 OR unwatched_hours >= 0.2
ORDER BY unwatched_hours DESC, lost_records DESC
