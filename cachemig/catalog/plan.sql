-- The plan: in each pair of servers the archives used last come first, and signatures
-- without archive last of all.
SELECT
    source_server,
    server,
    row_number() OVER (
        PARTITION BY source_server, server
        ORDER BY travels_as, coalesce(mtime_ns, siginfo_mtime_ns) DESC, name, cache, directory
    ) - 1 AS n,
    cache,
    directory,
    name,
    travels_as AS kind,
    size_bytes,
    mtime_ns,
    siginfo_size_bytes,
    siginfo_mtime_ns,
    sig_size_bytes,
    sig_mtime_ns
FROM candidates
WHERE left_out = ''
ORDER BY source_server, server, n
