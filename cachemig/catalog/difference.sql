-- Archives by key at two sites, wherever they lie there: who has what, and equally large. Of
-- several archives of one key at a site the largest counts.
WITH here AS (
    SELECT cache, directory, name, max(size_bytes) AS size_bytes,
           arg_max(server, size_bytes) AS server
    FROM inventory
    WHERE kind = 'object' OR (kind = 'link' AND resolved AND size_bytes IS NOT NULL)
    GROUP BY ALL
), there AS (
    SELECT cache, directory, name, max(size_bytes) AS size_bytes,
           arg_max(server, size_bytes) AS server
    FROM other
    WHERE kind = 'object' OR (kind = 'link' AND resolved AND size_bytes IS NOT NULL)
    GROUP BY ALL
)
SELECT
    cache,
    directory,
    name,
    here.server,
    here.size_bytes,
    there.server AS other_server,
    there.size_bytes AS other_size_bytes,
    CASE
        WHEN there.size_bytes IS NULL THEN 'only_one'
        WHEN here.size_bytes IS NULL THEN 'only_other'
        WHEN here.size_bytes <> there.size_bytes THEN 'other_size'
        ELSE 'same'
    END AS state
FROM here
FULL JOIN there USING (cache, directory, name)
