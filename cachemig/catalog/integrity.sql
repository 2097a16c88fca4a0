-- Every file that lies there, beside what our latest receipt for its path says of it.
WITH latest AS (
    SELECT server, path, arg_max(sha256, time) AS sha256
    FROM receipts
    GROUP BY ALL
), there AS (
    SELECT
        server,
        concat_ws('/', nullif(folder, ''), nullif(directory, ''), name) AS archive_path,
        unnest([
            {'suffix': '', 'size_bytes': size_bytes},
            {'suffix': '.siginfo', 'size_bytes': siginfo_size_bytes},
            {'suffix': '.sig', 'size_bytes': sig_size_bytes}
        ]) AS file
    FROM inventory
    JOIN folders USING (cache)
    WHERE kind IN ('object', 'signature')
), files AS (
    SELECT
        server,
        archive_path || file.suffix AS path,
        file.suffix = '' AS is_archive,
        file.size_bytes AS size_bytes
    FROM there
    WHERE file.size_bytes IS NOT NULL
)
SELECT
    server,
    path,
    coalesce(is_archive, false) AS is_archive,
    size_bytes,
    coalesce(sha256, '') AS sha256,
    CASE
        WHEN size_bytes IS NULL THEN 'missing'
        WHEN sha256 IS NULL AND NOT is_archive THEN 'unproved'
        ELSE 'to_prove'
    END AS task
FROM files
FULL JOIN latest USING (server, path)
ORDER BY server, path
