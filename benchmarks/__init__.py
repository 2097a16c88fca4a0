"""Measurements of cachemig beside the usual copiers, over an emulated wide-area link."""
