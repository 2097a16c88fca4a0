-- What of one pair's part of a plan lies in settled directories.
SELECT
    count(*),
    coalesce(
        sum(
            coalesce(size_bytes, 0) + coalesce(siginfo_size_bytes, 0)
                + coalesce(sig_size_bytes, 0)
        ),
        0
    )::BIGINT
FROM plan
SEMI JOIN held USING (cache, directory)
WHERE source_server = $source_server AND server = $server AND damage = ''
