-- What a plan leaves behind because it is damaged, one by one.
SELECT source_server, server, cache, directory, name, coalesce(size_bytes, 0), damage
FROM plan
WHERE damage <> ''
ORDER BY ALL
