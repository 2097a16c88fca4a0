-- How much of everything a site holds, by one property. Strays belong to no recipe and no
-- slot, so they are left out where they could only be counted under an empty name.
SELECT
    CASE $by
        WHEN 'server' THEN server
        WHEN 'cache' THEN cache
        WHEN 'slot' THEN slot
        WHEN 'pn' THEN pn
        WHEN 'task' THEN task
        WHEN 'stray' THEN stray_kind
    END AS name,
    count(*) FILTER (kind = 'object') AS objects,
    count(*) FILTER (kind = 'signature') AS signatures,
    count(*) FILTER (kind = 'link') AS links,
    count(*) FILTER (kind = 'stray') AS strays,
    count(*) FILTER (misplaced) AS misplaced,
    count(*) FILTER (damage <> '') AS damaged,
    count(size_bytes) + count(siginfo_size_bytes) + count(sig_size_bytes) AS files,
    coalesce(sum(size_bytes), 0)::BIGINT + coalesce(sum(siginfo_size_bytes), 0)::BIGINT
        + coalesce(sum(sig_size_bytes), 0)::BIGINT AS size_bytes
FROM inventory
WHERE kind <> 'directory'
  AND CASE $by
        WHEN 'stray' THEN kind = 'stray'
        WHEN 'server' THEN true
        WHEN 'cache' THEN true
        ELSE kind <> 'stray'
      END
GROUP BY 1
ORDER BY 1
