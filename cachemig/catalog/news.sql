-- How much of the plan goes where no run has seen it whole.
SELECT coalesce(sum(entries), 0)::BIGINT
FROM contents
ANTI JOIN settled USING (source_server, server, cache, directory, entries, content)
WHERE source_server = $source_server AND server = $server
