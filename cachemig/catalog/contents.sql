-- What a plan brings into each directory: how many entries, and a number that is another one
-- as soon as a name, size or time of them is.
SELECT
    source_server,
    server,
    cache,
    directory,
    count(*) AS entries,
    bit_xor(
        hash(
            name, kind, size_bytes, mtime_ns, siginfo_size_bytes, siginfo_mtime_ns,
            sig_size_bytes, sig_mtime_ns
        )
    ) AS content
FROM plan
WHERE damage = ''
GROUP BY ALL
