-- Directories of one cache on one server that a scan may skip while their time stays: those
-- without any directory below, whether or not the one below is remembered itself.
WITH directories AS (
    SELECT directory, mtime_ns
    FROM previous
    WHERE kind = 'directory' AND server = $server AND cache = $cache
), parents AS (
    SELECT DISTINCT regexp_replace(directory, '/?[^/]*$', '') AS directory
    FROM directories
    WHERE directory <> ''
)
SELECT directory, mtime_ns
FROM directories
ANTI JOIN parents USING (directory)
WHERE mtime_ns IS NOT NULL
