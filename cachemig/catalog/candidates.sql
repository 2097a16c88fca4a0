-- Every object, signature and link of the caches that the destination has a map for: the
-- server it belongs on, and why it stays behind, if it does. Of several sound copies one with
-- an archive is taken, of these one of a server that answers, of these the one with most
-- companions, of these the newest.
WITH placed AS NOT MATERIALIZED (
    SELECT
        inventory.* EXCLUDE (server, stray_kind, target, checked),
        inventory.server AS source_server,
        owners.server AS server,
        if(size_bytes IS NULL, 'signature', 'object') AS travels_as,
        CASE
            WHEN kind = 'link' AND NOT resolved THEN 'unresolved_link'
            WHEN misplaced THEN 'misplaced'
            WHEN damage <> '' THEN 'damaged'
            ELSE ''
        END AS obstacle
    FROM inventory
    JOIN owners USING (cache, slot)
    WHERE kind IN ('object', 'signature', 'link')
), repeated AS (
    SELECT cache, directory, name
    FROM placed
    WHERE obstacle = ''
    GROUP BY ALL
    HAVING count(*) > 1
), taken AS (
    SELECT cache, directory, name, source_server
    FROM placed
    SEMI JOIN repeated USING (cache, directory, name)
    WHERE obstacle = ''
    QUALIFY row_number() OVER (
        PARTITION BY cache, directory, name
        ORDER BY
            travels_as,
            list_contains(string_split($silent, chr(10)), source_server),
            (sig_size_bytes IS NOT NULL)::INT + (siginfo_size_bytes IS NOT NULL)::INT DESC,
            coalesce(mtime_ns, siginfo_mtime_ns) DESC,
            source_server
    ) = 1
)
SELECT
    placed.* EXCLUDE (obstacle),
    CASE
        WHEN obstacle <> '' THEN obstacle
        WHEN repeated.name IS NOT NULL AND taken.name IS NULL THEN 'duplicate'
        ELSE ''
    END AS left_out
FROM placed
LEFT JOIN repeated USING (cache, directory, name)
LEFT JOIN taken USING (cache, directory, name, source_server)
