-- Between which services do idle timeouts not fit each other?
--
-- Clients whose requests ran into the FIN of a server that had given up the idle connection. Next
-- to each pair of services: the silence after which the server gives up, and the one after which
-- the client does (both medians; nan where that side never did). The client's has to be some
-- seconds shorter.
SELECT
    closes.service AS client,
    served.service AS server,
    countIf(cause IN ('stale_keepalive', 'crossed_keepalive')) AS missed,
    round(medianIf(idle_ms, idle_ms >= 500 AND initiator = 'peer') / 1000, 1)
        AS server_gives_up_after_s,
    round(medianIf(idle_ms, idle_ms >= 500 AND initiator = 'local') / 1000, 1)
        AS client_gives_up_after_s,
    count() AS closes
FROM tcpclose.closes AS closes
INNER JOIN tcpclose.served AS served FINAL
    ON served.address = closes.peer AND served.port = closes.peer_port
WHERE ts >= {from:DateTime} AND ts < {to:DateTime} AND role = 'client'
GROUP BY client, server
HAVING missed >= 5
ORDER BY missed DESC
