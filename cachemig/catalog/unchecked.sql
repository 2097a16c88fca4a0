-- Archives of one server whose structure nobody walked at their present size.
SELECT cache, directory, name
FROM draft
WHERE server = $server
  AND NOT checked
  AND (kind = 'object' OR (kind = 'link' AND resolved AND size_bytes IS NOT NULL))
ORDER BY cache, directory, name
