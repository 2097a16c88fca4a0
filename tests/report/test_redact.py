"""Secrets in a command line do not reach output, log or evidence."""

import pytest

from cachemig.report.redact import redacted


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["sync", "old", "new"], ["sync", "old", "new"]),
        (["ssh://ops:hunter2@h/x"], ["ssh://ops:***@h/x"]),
        (["--proxy=http://u:hunter2@h:1/"], ["--proxy=http://u:***@h:1/"]),
        (["--token", "hunter2", "x"], ["--token", "***", "x"]),
        (["--Api-Token", "hunter2"], ["--Api-Token", "***"]),
        (["--secret-key=hunter2"], ["--secret-key=***"]),
        (["https://h/x?X-Amz-Signature=hunter2&a=b"], ["https://h/x?X-Amz-Signature=***&a=b"]),
        (["--password"], ["--password"]),
        (["--password", "--json"], ["--password", "--json"]),
        (["/srv/v95:x@y"], ["/srv/v95:x@y"]),
    ],
)
def test_what_is_named_as_secret_is_replaced(argv, shown):
    """Everything else stays, so that the command can be repeated."""
    assert list(redacted(argv)) == shown
