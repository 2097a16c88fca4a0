-- What of the one site is at the other, on the server where a build will look for it. A
-- link counts as absent, as it does for a sync.
WITH expected AS NOT MATERIALIZED (
    SELECT cache, directory, name, server, travels_as, size_bytes, siginfo_size_bytes,
           sig_size_bytes
    FROM candidates
    WHERE left_out = ''
), there AS NOT MATERIALIZED (
    SELECT cache, directory, name, server, size_bytes, siginfo_size_bytes, sig_size_bytes, damage
    FROM new_inventory
    WHERE kind IN ('object', 'signature')
), elsewhere AS (
    SELECT DISTINCT there.cache, there.directory, there.name
    FROM there
    JOIN expected USING (cache, directory, name)
    WHERE there.server <> expected.server
      AND (there.size_bytes IS NOT NULL OR expected.travels_as = 'signature')
)
SELECT
    expected.cache,
    expected.server,
    expected.directory,
    expected.name,
    travels_as AS kind,
    coalesce(expected.size_bytes, 0) + coalesce(expected.siginfo_size_bytes, 0)
        + coalesce(expected.sig_size_bytes, 0) AS size_bytes,
    CASE
        WHEN there.name IS NULL OR (travels_as = 'object' AND there.size_bytes IS NULL)
            THEN if(elsewhere.name IS NULL, 'missing', 'wrong_server')
        WHEN there.damage <> '' THEN 'damaged'
        WHEN there.size_bytes <> expected.size_bytes THEN 'other_size'
        WHEN expected.siginfo_size_bytes IS NOT NULL AND there.siginfo_size_bytes IS NULL
            OR expected.sig_size_bytes IS NOT NULL AND there.sig_size_bytes IS NULL
            THEN 'incomplete'
        ELSE 'present'
    END AS state
FROM expected
LEFT JOIN there USING (cache, directory, name, server)
LEFT JOIN elsewhere USING (cache, directory, name)
