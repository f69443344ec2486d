-- What has changed most between the day before {day} and {day}?
--
-- Abnormal closes by service and what ended them, as shares of all closes of the service on each of
-- the two days. `sigmas` is how far the shares lie apart, in standard deviations of what chance
-- would do; below five it is noise where hundreds of numbers are compared, and so are a handful of
-- closes.
WITH
    a / greatest(of_a, 1) AS share_before,
    b / greatest(of_b, 1) AS share,
    (a + b) / greatest(of_a + of_b, 1) AS both
SELECT
    service,
    what,
    a AS before,
    b AS now,
    round(share_before, 5) AS of_closes_before,
    round(share, 5) AS of_closes_now,
    round((share - share_before)
        / sqrt(greatest(both * (1 - both), 1e-12)
            * (1 / greatest(of_a, 1) + 1 / greatest(of_b, 1))), 1)
        AS sigmas
FROM
(
    SELECT
        service,
        multiIf(cause != '', toString(cause), reset_by = 'peer', 'reset by peer', toString(path))
            AS what,
        sumIf(closes, toDate(hour) = {day:Date} - 1) AS a,
        sumIf(closes, toDate(hour) = {day:Date}) AS b
    FROM tcpclose.closes_hourly
    WHERE hour >= {day:Date} - 1 AND hour < {day:Date} + 1
        AND path IN ('reset', 'timeout', 'destroyed', 'connect_failed')
    GROUP BY service, what
) AS kinds
INNER JOIN
(
    SELECT
        service,
        sumIf(closes, toDate(hour) = {day:Date} - 1) AS of_a,
        sumIf(closes, toDate(hour) = {day:Date}) AS of_b
    FROM tcpclose.closes_hourly
    WHERE hour >= {day:Date} - 1 AND hour < {day:Date} + 1
    GROUP BY service
) AS totals USING (service)
WHERE abs(sigmas) >= 5 AND greatest(a, b) >= 20
ORDER BY abs(sigmas) DESC
