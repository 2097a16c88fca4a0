-- How many objects and signatures are in which state, per cache.
SELECT cache, kind, state, count(*) AS entries, sum(size_bytes)::BIGINT AS size_bytes
FROM presence
GROUP BY ALL
ORDER BY ALL
