"""From measurements to what can be read: JSON, tables, plots, a page."""
