-- The largest of one pair, the largest first.
SELECT n, cache, directory, name, kind, sig_size_bytes, sig_mtime_ns, siginfo_size_bytes,
       siginfo_mtime_ns, size_bytes, mtime_ns
FROM plan
WHERE source_server = $source_server AND server = $server
  AND damage = ''
ORDER BY
    coalesce(size_bytes, 0) + coalesce(siginfo_size_bytes, 0) + coalesce(sig_size_bytes, 0) DESC,
    n
LIMIT $count
