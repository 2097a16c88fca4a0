-- Slot directories, and whole caches on a server, that held objects at the last scan and
-- now hold nothing, not even a directory: more likely an unmounted export than a deletion.
WITH held AS (
    SELECT
        server,
        cache,
        regexp_extract(directory, '^([0-9a-f]{2}|[^/]+/[0-9a-f]{2})(/|$)', 1) AS place,
        count(*) AS objects
    FROM previous
    SEMI JOIN places USING (server, cache)
    WHERE kind IN ('object', 'signature', 'link')
    GROUP BY ALL
), found AS (
    SELECT
        server,
        cache,
        regexp_extract(directory, '^([0-9a-f]{2}|[^/]+/[0-9a-f]{2})(/|$)', 1) AS place,
        directory,
        kind
    FROM draft
), filled AS (
    SELECT DISTINCT server, cache, place
    FROM found
    WHERE kind <> 'directory' OR directory <> place
), bare AS (
    SELECT server, cache
    FROM held
    GROUP BY ALL
    EXCEPT
    SELECT server, cache
    FROM draft
    WHERE kind IN ('object', 'signature', 'link')
)
SELECT server, cache, '' AS place, sum(objects)::BIGINT AS objects
FROM held SEMI JOIN bare USING (server, cache)
GROUP BY ALL
UNION ALL
SELECT server, cache, place, objects
FROM held ANTI JOIN filled USING (server, cache, place)
WHERE place <> ''
ORDER BY ALL
LIMIT 5
