-- The inventory itself: the draft with what the archive check found.
SELECT
    server, cache, directory, name, kind, stray_kind, pn, task, hash, arch, version,
    slot, native, size_bytes, mtime_ns, siginfo_size_bytes, siginfo_mtime_ns, sig_size_bytes,
    sig_mtime_ns, resolved, target, misplaced,
    coalesce(verdicts.damage, draft.damage) AS damage,
    checked OR verdicts.damage IS NOT NULL AS checked
FROM draft
LEFT JOIN verdicts ON verdicts.row = draft.file_row_number
