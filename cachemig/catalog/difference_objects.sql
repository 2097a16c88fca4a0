-- The archives that are not the same at both sites, one by one.
SELECT cache, directory, name, state, server, size_bytes, other_server, other_size_bytes
FROM difference
WHERE state <> 'same'
ORDER BY cache, directory, name
