"""Inventories, plans and receipts as Parquet, asked through DuckDB."""
