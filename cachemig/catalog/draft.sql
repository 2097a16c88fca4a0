-- What is there now: the directories that were read, and the rows of those that did not
-- change. A verdict on an archive stays true while its size does; a bad one is only
-- trusted while its time does too, since the file may have been replaced by a good one.
WITH verdicts AS (
    SELECT server, cache, directory, name, size_bytes, mtime_ns, damage
    FROM previous
    WHERE checked
), looked_at AS (
    SELECT
        fresh.* EXCLUDE (damage),
        verdicts.name IS NOT NULL
            AND verdicts.size_bytes IS NOT DISTINCT FROM fresh.size_bytes
            AND (verdicts.damage = '' OR verdicts.mtime_ns IS NOT DISTINCT FROM fresh.mtime_ns)
            AS carried,
        fresh.damage AS damage_now,
        verdicts.damage AS damage_then
    FROM fresh
    LEFT JOIN verdicts USING (server, cache, directory, name)
)
SELECT
    * EXCLUDE (carried, damage_now, damage_then),
    CASE WHEN carried AND damage_now = '' THEN damage_then ELSE damage_now END AS damage,
    carried OR damage_now <> '' AS checked
FROM looked_at
UNION ALL BY NAME
SELECT previous.*
FROM previous
SEMI JOIN unchanged USING (server, cache, directory)
