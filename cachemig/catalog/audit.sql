-- What one server holds against what we brought there; either may lack. A link counts as
-- absent, the companions beside it do not.
WITH here AS NOT MATERIALIZED (
    SELECT
        concat_ws('/', nullif($folders[cache], ''), nullif(directory, ''), name) AS base,
        if(kind = 'link', NULL, size_bytes) AS size_bytes,
        siginfo_size_bytes,
        sig_size_bytes
    FROM inventory
    WHERE server = $server
      AND kind IN ('object', 'signature', 'link')
      AND $folders[cache] IS NOT NULL
), files AS NOT MATERIALIZED (
    SELECT base AS path, true AS is_archive, size_bytes
    FROM here WHERE size_bytes IS NOT NULL
    UNION ALL
    SELECT base || '.siginfo', false, siginfo_size_bytes
    FROM here WHERE siginfo_size_bytes IS NOT NULL
    UNION ALL
    SELECT base || '.sig', false, sig_size_bytes
    FROM here WHERE sig_size_bytes IS NOT NULL
), brought AS NOT MATERIALIZED (
    SELECT path, size_bytes AS receipt_bytes, sha256
    FROM receipts
    WHERE server = $server
)
SELECT
    path,
    coalesce(is_archive, NOT regexp_matches(path, '\.(siginfo|sig)$')) AS is_archive,
    size_bytes,
    receipt_bytes,
    coalesce(sha256, '') AS sha256
FROM files
FULL JOIN brought USING (path)
ORDER BY path
