-- Archives of one server whose structure nobody walked at their present size.
SELECT file_row_number, cache, directory, name
FROM draft
WHERE server = $server
  AND NOT checked
  AND (kind = 'object' OR (kind = 'link' AND resolved AND size_bytes IS NOT NULL))
