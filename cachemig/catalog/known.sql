-- Directories of one cache on one server that a scan may skip while their time stays.
SELECT directory, mtime_ns
FROM previous
WHERE kind = 'directory' AND mtime_ns IS NOT NULL AND server = $server AND cache = $cache
