-- The last receipt of every file of a site. A line that a crash tore reads as NULLs.
SELECT server, path, size_bytes, sha256, run_id, time
FROM (
    FROM kept_here WHERE site = $site
    UNION ALL BY NAME
    FROM kept_at_servers
)
WHERE v = 1 AND path <> '' AND sha256 <> '' AND size_bytes IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY server, path ORDER BY time DESC, run_id DESC) = 1
ORDER BY server, path
