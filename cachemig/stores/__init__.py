"""Places that hold cache files, and the pipes that lead to them."""
