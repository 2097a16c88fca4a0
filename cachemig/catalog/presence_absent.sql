-- Everything that a build would not find whole where it looks, one by one.
SELECT cache, server, directory, name, kind, size_bytes, state
FROM presence
WHERE state NOT IN ('present', 'other_size')
ORDER BY cache, server, kind, directory, name
