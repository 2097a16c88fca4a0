-- How the objects of each cache lie on each server: whether the root may be a level off.
SELECT
    server,
    cache,
    count(*) AS objects,
    count(*) FILTER (misplaced) AS misplaced,
    CASE
        WHEN bool_and(native <> '') FILTER (NOT misplaced)
            AND count(DISTINCT split_part(native, '/', 1)) FILTER (NOT misplaced) = 1
            THEN any_value(split_part(native, '/', 1)) FILTER (NOT misplaced)
        ELSE ''
    END AS all_below
FROM inventory
WHERE kind IN ('object', 'signature', 'link')
GROUP BY ALL
ORDER BY ALL
