-- What a plan leaves behind, and why; strays of the same caches among it.
SELECT left_out AS reason, count(*) AS entries
FROM candidates
WHERE left_out <> ''
GROUP BY ALL
UNION ALL
SELECT 'stray', count(*)
FROM inventory
WHERE kind = 'stray' AND cache IN (SELECT cache FROM owners)
HAVING count(*) > 0
ORDER BY reason
