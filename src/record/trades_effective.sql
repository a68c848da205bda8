-- Trades with what corrects and cancels them applied. `changes` are those records, and `links` those of them that name
-- another one; `firsts` are the others, each with the trade that it names, or itself if it names none. From there
-- `chains` goes to all that change a trade, and `newest` is the one of them that counts. An id names the newest record of
-- its symbol that has it and is no later, since vendors begin their ids anew each day.
WITH RECURSIVE changes AS (
    SELECT vendor, venue, symbol, ts, ts_ns, id, ref_id, received_ts_ns, seq
    FROM {table} WHERE action IN ('correct', 'cancel')
), links AS (
    SELECT c.vendor, c.venue, c.symbol, c.ts_ns, c.id, max(p.ts_ns) AS named_ns
    FROM changes AS c JOIN changes AS p
        ON p.vendor = c.vendor AND p.venue = c.venue AND p.symbol = c.symbol AND p.id = c.ref_id
        AND p.ts_ns <= c.ts_ns AND (p.ts_ns < c.ts_ns OR p.id <> c.id)
    WHERE NOT EXISTS (
        SELECT 1 FROM {table} AS t
        WHERE t.vendor = c.vendor AND t.venue = c.venue AND t.symbol = c.symbol AND t.ts >= p.ts AND t.ts <= c.ts
            AND t.ts_ns > p.ts_ns AND t.ts_ns <= c.ts_ns AND t.id = c.ref_id AND coalesce(t.action, 'new') = 'new')
    GROUP BY c.vendor, c.venue, c.symbol, c.ts_ns, c.id
), firsts AS (
    SELECT c.*, (
        SELECT t.ts FROM {table} AS t
        WHERE t.vendor = c.vendor AND t.venue = c.venue AND t.symbol = c.symbol AND t.ts <= c.ts
            AND t.ts_ns <= c.ts_ns AND t.id = c.ref_id AND coalesce(t.action, 'new') = 'new'
        ORDER BY t.ts DESC, t.ts_ns DESC LIMIT 1) AS trade_ts, (
        SELECT t.ts_ns FROM {table} AS t
        WHERE t.vendor = c.vendor AND t.venue = c.venue AND t.symbol = c.symbol AND t.ts <= c.ts
            AND t.ts_ns <= c.ts_ns AND t.id = c.ref_id AND coalesce(t.action, 'new') = 'new'
        ORDER BY t.ts DESC, t.ts_ns DESC LIMIT 1) AS trade_ns
    FROM changes AS c
    WHERE NOT EXISTS (
        SELECT 1 FROM links AS l
        WHERE l.vendor = c.vendor AND l.venue = c.venue AND l.symbol = c.symbol AND l.ts_ns = c.ts_ns AND l.id = c.id)
), chains AS (
    SELECT vendor, venue, symbol, coalesce(trade_ts, ts) AS trade_ts, coalesce(trade_ns, ts_ns) AS trade_ns,
        CASE WHEN trade_ns IS NULL THEN id ELSE ref_id END AS trade_id, ts, ts_ns, id, received_ts_ns, seq, 0 AS depth
    FROM firsts
    UNION ALL
    SELECT f.vendor, f.venue, f.symbol, f.trade_ts, f.trade_ns, f.trade_id, c.ts, c.ts_ns, c.id, c.received_ts_ns, c.seq,
        f.depth + 1
    FROM chains AS f
    JOIN links AS l ON l.vendor = f.vendor AND l.venue = f.venue AND l.symbol = f.symbol AND l.named_ns = f.ts_ns
    JOIN changes AS c ON c.vendor = l.vendor AND c.venue = l.venue AND c.symbol = l.symbol
        AND c.ts_ns = l.ts_ns AND c.id = l.id AND c.ref_id = f.id
), ranked AS (
    SELECT vendor, venue, symbol, trade_ts, trade_ns, trade_id, ts, ts_ns, id, row_number() OVER (
        PARTITION BY vendor, venue, symbol, trade_ns, trade_id
        ORDER BY ts_ns DESC, received_ts_ns IS NULL, received_ts_ns DESC, seq IS NULL, seq DESC, depth DESC,
            id DESC) AS place
    FROM chains
), newest AS (
    SELECT vendor, venue, symbol, trade_ts, trade_ns, trade_id, ts, ts_ns, id FROM ranked WHERE place = 1
)
SELECT t.vendor, t.venue, t.symbol, t.ts, t.ts_ns, t.id, t.price, t.size, t.side, t.seq, t.conditions, t.action,
    t.ref_id, t.received_ts_ns
FROM {table} AS t
WHERE coalesce(t.action, 'new') = 'new' AND (
    t.ts_ns NOT IN (SELECT trade_ns FROM newest)
    OR NOT EXISTS (
        SELECT 1 FROM newest AS n
        WHERE n.vendor = t.vendor AND n.venue = t.venue AND n.symbol = t.symbol AND n.trade_ns = t.ts_ns
            AND n.trade_id = t.id))
UNION ALL
SELECT c.vendor, c.venue, c.symbol, t.ts, t.ts_ns, t.id, c.price, c.size, c.side, c.seq, c.conditions, c.action,
    c.ref_id, c.received_ts_ns
FROM newest AS n JOIN {table} AS c
    ON c.vendor = n.vendor AND c.venue = n.venue AND c.symbol = n.symbol AND c.ts = n.ts
    AND c.ts_ns = n.ts_ns AND c.id = n.id
JOIN {table} AS t
    ON t.vendor = n.vendor AND t.venue = n.venue AND t.symbol = n.symbol AND t.ts = n.trade_ts
    AND t.ts_ns = n.trade_ns AND t.id = n.trade_id
WHERE c.action = 'correct'
