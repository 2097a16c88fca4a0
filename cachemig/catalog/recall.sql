-- Directories that held, when a run last looked, all that this plan too brings there.
SELECT cache, directory, mtime_ns, entries
FROM contents
JOIN settled USING (source_server, server, cache, directory, entries, content)
WHERE source_server = $source_server AND server = $server
