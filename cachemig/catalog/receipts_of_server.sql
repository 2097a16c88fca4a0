-- The receipts of one server.
SELECT server, path, size_bytes, sha256, run_id, time
FROM receipts
WHERE server = $server
ORDER BY path
