-- The entries that an operator may want to look at one by one.
SELECT server, cache, directory, name, kind, stray_kind, size_bytes, mtime_ns, resolved,
       target, damage
FROM inventory
WHERE CASE $which
        WHEN 'strays' THEN kind = 'stray'
        WHEN 'misplaced' THEN misplaced
        WHEN 'damaged' THEN damage <> ''
        WHEN 'links' THEN kind = 'link'
      END
ORDER BY server, cache, directory, name
