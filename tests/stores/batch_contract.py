"""What every store must do with batches that come through a lane."""


class BatchContract:
    """Moves."""
