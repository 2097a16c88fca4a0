"""Commands: parse, open, call, render, exit code."""
