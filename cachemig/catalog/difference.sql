-- Objects by key at two sites, wherever they lie there: who has what, and equally large.
WITH here AS (
    SELECT cache, directory, name, max(size_bytes) AS size_bytes
    FROM inventory
    WHERE kind = 'object' OR (kind = 'link' AND resolved AND size_bytes IS NOT NULL)
    GROUP BY ALL
), there AS (
    SELECT cache, directory, name, max(size_bytes) AS size_bytes
    FROM other
    WHERE kind = 'object' OR (kind = 'link' AND resolved AND size_bytes IS NOT NULL)
    GROUP BY ALL
)
SELECT
    cache,
    count(*) FILTER (here.size_bytes = there.size_bytes) AS same,
    count(*) FILTER (here.size_bytes <> there.size_bytes) AS other_size,
    count(*) FILTER (there.size_bytes IS NULL) AS only_one,
    count(*) FILTER (here.size_bytes IS NULL) AS only_other,
    coalesce(sum(here.size_bytes) FILTER (there.size_bytes IS NULL), 0)::BIGINT
        AS only_one_bytes,
    coalesce(sum(there.size_bytes) FILTER (here.size_bytes IS NULL), 0)::BIGINT
        AS only_other_bytes
FROM here
FULL JOIN there USING (cache, directory, name)
GROUP BY 1
ORDER BY 1
