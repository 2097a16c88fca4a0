-- A stretch of one pair; the file is sorted by pair and n, so that little of it is read.
SELECT n, cache, directory, name, kind, sig_size_bytes, sig_mtime_ns, siginfo_size_bytes,
       siginfo_mtime_ns, size_bytes, mtime_ns
FROM plan
WHERE source_server = $source_server AND server = $server
  AND damage = ''
  AND n >= $start AND n < $start + $count
ORDER BY n
