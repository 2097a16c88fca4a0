-- Directories of the plan that hold all it brings there, with what that is.
SELECT source_server, server, cache, directory, mtime_ns, entries, content
FROM contents
JOIN held USING (source_server, server, cache, directory, entries)
ORDER BY ALL
