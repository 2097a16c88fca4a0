-- How many archives of each cache are at both sites, or at one of them.
SELECT
    cache,
    count(*) FILTER (state = 'same') AS same,
    count(*) FILTER (state = 'other_size') AS other_size,
    count(*) FILTER (state = 'only_one') AS only_one,
    count(*) FILTER (state = 'only_other') AS only_other,
    coalesce(sum(size_bytes) FILTER (state = 'only_one'), 0)::BIGINT AS only_one_bytes,
    coalesce(sum(other_size_bytes) FILTER (state = 'only_other'), 0)::BIGINT
        AS only_other_bytes
FROM difference
GROUP BY 1
ORDER BY 1
