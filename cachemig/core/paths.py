"""Paths below a server's root, in which an empty part stands for the folder before it."""


def joined(*parts: str) -> str:
    """Join the parts of a path; empty ones leave no trace."""
    return "/".join(part for part in parts if part)
