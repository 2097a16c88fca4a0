-- Everything that a build would not find whole where it looks, one by one; with
-- $other_size also what it would find from another build.
SELECT cache, server, directory, name, kind, size_bytes, state
FROM presence
WHERE state <> 'present' AND ($other_size OR state <> 'other_size')
ORDER BY cache, server, kind, directory, name
