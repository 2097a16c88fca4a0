-- What a plan brings from server to server.
SELECT
    source_server,
    server,
    count(*) FILTER (travels_as = 'object') AS objects,
    count(*) FILTER (travels_as = 'signature') AS signatures,
    count(size_bytes) + count(siginfo_size_bytes) + count(sig_size_bytes) AS files,
    coalesce(sum(size_bytes), 0)::BIGINT + coalesce(sum(siginfo_size_bytes), 0)::BIGINT
        + coalesce(sum(sig_size_bytes), 0)::BIGINT AS size_bytes
FROM candidates
WHERE left_out = ''
GROUP BY ALL
ORDER BY ALL
