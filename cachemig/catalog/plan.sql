-- The plan: in each pair of servers the archives used last come first, and signatures
-- without archive last of all. Damaged archives are noted with what is wrong with them; they do
-- not travel, and have numbers of their own.
SELECT
    source_server,
    server,
    row_number() OVER (
        PARTITION BY source_server, server, left_out
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
    sig_mtime_ns,
    damage
FROM candidates
WHERE left_out IN ('', 'damaged')
ORDER BY source_server, server, n
