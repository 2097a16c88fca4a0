-- One pair's part of a plan without the directories that are settled.
SELECT * REPLACE (row_number() OVER (ORDER BY n) - 1 AS n)
FROM plan
ANTI JOIN held USING (cache, directory)
WHERE source_server = $source_server AND server = $server AND damage = ''
ORDER BY n
